#pragma once
// The near cache's storage: sharded, S3-FIFO over ring logs in one prefaulted mapping, read by any
// thread without a lock, written by any thread under a shard's short lock.
//
// What it stores is opaque to it: a value found by (key, scope), where scope is the command's
// signature (database, user, command, other arguments), empty for a plain GET in db 0. One delete by
// key drops every scope of the key.
//
// Coherence by stamps: an insert carries the 32-bit stamp its fill captured when it was sent; a
// lookup names the floor of the key's lane and slot: an entry with stamp < floor is a miss. So a
// whole lane is flushed in O(1) by raising its floor.
//
// Units: sizes in bytes, times in milliseconds of the caller's clock (never the wall clock).
#include "base/slice.h"

enum cache_kind {    // two bits the caller keeps with a value
    CACHE_BULK = 0,  // the payload of a bulk reply, without header and CRLF
    CACHE_NULL = 1,  // the key or field is missing; no bytes
    CACHE_FRAME = 2, // a whole RESP3 reply
};

struct cache_ref {
    uint64_t hash; // hash_key(key)
    struct slice key;   // at most LIMIT_CACHE_KEY bytes
    struct slice scope; // at most LIMIT_CACHE_SCOPE bytes
};

struct cache_options {
    size_t bytes;         // everything: logs, index, ghosts, shard heads
    size_t reserve_bytes; // address space for growth by cache_resize; 0 means 4 × bytes
    unsigned shards;      // 0 chooses; rounded down to a power of two, fewer for small caches
    unsigned small_percent; // of the log for the small queue; 0 means 10
    bool prefault;        // MADV_POPULATE_WRITE at creation; tests may leave it off
    unsigned item_bytes;  // expected mean entry, which sizes index and ghosts; 0 means 136
    size_t log_bytes;     // caps the logs below what `bytes` allows, for benchmarks; 0: no cap
};

struct cache;

// Returns owned, or WEIR_ENOMEM, or WEIR_ERANGE when bytes is too small to be useful (< 1 MiB).
int cache_create(struct cache **out, const struct cache_options *options);
void cache_destroy(struct cache **cache);

struct cache_hit {
    uint32_t size;     // bytes of the value
    uint8_t kind;      // enum cache_kind
    uint32_t stamp;
    uint64_t expires_ms;
    uint64_t age_bytes; // bytes its shard has logged since this entry, × shards: its FIFO distance
    uint64_t position;  // identifies this very entry, for cache_still
};

enum cache_verdict { CACHE_MISS = 0, CACHE_HIT = 1, CACHE_NO_ROOM = 2 }; // 2: hit->size exceeds room

// Copies the value to `out` and validates it after the copy. Marks the entry as used. `hit` is set
// on CACHE_HIT and CACHE_NO_ROOM.
enum cache_verdict cache_get(struct cache *cache, const struct cache_ref *ref, uint32_t floor,
                             uint64_t now_ms, void *out, size_t room, struct cache_hit *hit);
// Would cache_get hit? A hint: copies nothing, marks nothing.
bool cache_peek(struct cache *cache, const struct cache_ref *ref, uint32_t floor, uint64_t now_ms);
// Is the entry that a get returned still there, unchanged? For MGET: all keys as of one moment.
bool cache_still(struct cache *cache, const struct cache_ref *ref, uint64_t position);
// Brings the index line of `hash` near; call some keys ahead of cache_get.
void cache_prefetch(const struct cache *cache, uint64_t hash);
// Second step of the same: brings the entry's own lines near (call between the two).
void cache_prefetch_entry(const struct cache *cache, uint64_t hash);

// Inserts or replaces. Returns 0, WEIR_ERANGE (a size is out of bounds) or WEIR_ENOMEM (too large
// for the shard's log). `expires_ms` is exact: a get at now_ms >= expires_ms misses.
int cache_insert(struct cache *cache, const struct cache_ref *ref, struct slice value,
                 enum cache_kind kind, uint32_t stamp, uint64_t expires_ms);
// Drops every entry whose key has this hash. Returns how many were dropped. What is dropped while
// hot or in the main queue returns to main when it is filled again (ghost-on-invalidate).
unsigned cache_delete(struct cache *cache, uint64_t hash);
// Walks all entries in slices: drops those whose key starts with `prefix`. For WEIR CACHE DROP.
uint64_t cache_drop_prefix(struct cache *cache, struct slice prefix);

// Before 32-bit stamps wrap: removes every entry with stamp < floor, so that none can revive.
void cache_sweep(struct cache *cache, uint32_t floor);

struct cache_entry_info { // for WEIR CACHE WHY
    uint32_t size, stamp;
    uint64_t expires_ms, inserted_ms_ago_upper; // upper bound; 0 when unknown
    uint8_t kind, frequency;
    bool in_main;
    bool ghost; // not stored, but remembered
};
// Describes the entry of ref whatever its stamp or expiry. Returns 0 or WEIR_ENOENT (then only
// info->ghost is set).
int cache_describe(struct cache *cache, const struct cache_ref *ref, struct cache_entry_info *info);

// Grows or shrinks while readers and writers go on. What is given back leaves RSS at once
// (MADV_DONTNEED); entries outside of what is given back should survive. Returns 0, WEIR_ENOMEM
// (beyond the reserve), WEIR_ERANGE. One caller at a time.
int cache_resize(struct cache *cache, size_t bytes);

struct cache_stats { // relaxed sums over shards
    uint64_t items, item_bytes; // live items; keys, scopes and values of them
    uint64_t inserts, deletes, evictions, compactions, ghost_hits;
    uint64_t bytes_total, bytes_index, bytes_log, bytes_dead, bytes_ghost;
    bool wrapped; // the logs have been full at least once since creation or the last resize
};
void cache_stats(const struct cache *cache, struct cache_stats *out);
