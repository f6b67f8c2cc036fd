#pragma once
// Fills under way on one node: reads whose replies may enter the cache, unless something changes
// their key first. Found by key hash alone, so that a write or an invalidation kills every fill of
// the key, whatever its database or command. Home thread of the node only.
#include "base/slab.h"
#include "base/slice.h"

struct request;

struct fill {
    struct fill *chain;      // of its hash bucket
    struct fill *next;       // of the same request (MGET)
    struct request *owner;
    struct request *waiters; // requests that joined
    uint64_t hash;
    uint64_t sent_ns;
    int64_t pttl_ms;         // -1 none, -2 missing, INT64_MIN not known
    uint32_t stamp;          // captured at send
    uint32_t key_offset, key_size; // within the owner's frame
    bool alive;              // no invalidation since; in the table while true
};

enum { FILL_BUCKETS = 4096 };

struct fill_table {
    struct fill *bucket[FILL_BUCKETS];
    uint64_t alive;
};

void fill_insert(struct fill_table *table, struct fill *fill); // replaces nothing, newest first
void fill_remove(struct fill_table *table, struct fill *fill); // only if it is still alive
unsigned fill_kill(struct fill_table *table, uint64_t hash);   // returns how many
unsigned fill_kill_all(struct fill_table *table);
// The newest living fill of this hash, or NULL. The caller compares the key.
struct fill *fill_find(const struct fill_table *table, uint64_t hash);
