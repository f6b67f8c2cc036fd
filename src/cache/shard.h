#pragma once
// What the files of this folder share: the shard, its index slots, its segments and its queues.
//
//   mapping  ┌───────┬──────────────────────────────┬──────────────────────────────┬ ─ ─
//            │ heads │ shard 0                      │ shard 1                      │
//            └───────┴──────────────────────────────┴──────────────────────────────┴ ─ ─
//   shard    ┌───────────────┬──────────────────┬ ─ ─ ─ ─ ─ ┬ ─ ─ ─ ┬ ─ ─ ─ ┬──────────┬ ─ ┐
//            │ index, ghosts │ log: segments    │ growth      tables  tables│ segment  │
//            │ (tables 0)    │                  │           │ 1     │ 2     │ heads    │   │
//            └───────────────┴──────────────────┴ ─ ─ ─ ─ ─ ┴ ─ ─ ─ ┴ ─ ─ ─ ┴──────────┴ ─ ┘
//              └── populated, huge pages ───────┘ └── address space only ──┘
//            A place that once held index slots never holds anything else but zeros: a reader may
//            come late.
//   slot     │ 1 │ tag (28) │ main │ frequency (2) │ offset in the log / 8 (32) │     0 is free
//
// Who may touch what: a field is either constant, or atomic and read by anybody, or `locked`:
// read and written only under the shard's lock. All writing happens under the lock, except that
// readers raise a slot's frequency by compare-and-swap.
#include "base/check.h"
#include "cache/cache.h"
#include "cache/entry.h"

enum {
    LINE_SLOTS = 8,    // slots of an index bucket: one cache line
    PROBE_LINES = 5,   // buckets a key may live in, from its home bucket on
    SEGMENT_SLACK = 5, // segments beyond the limit: partly used ends of two queues, and moving
    FREQUENCY_MAX = 3,
    PROMOTE_AT = 2,    // frequency at which the small queue's oldest moves to the main queue
    GHOST_WAYS = 16,
    TABLE_AREAS = 3,
    SEGMENT_NONE = -1,
};

#define SLOT_USED (1ULL << 63)
#define SLOT_TAG_SHIFT 35
#define SLOT_TAG_MASK ((1ULL << 28) - 1)
#define SLOT_MAIN (1ULL << 34)
#define SLOT_FREQUENCY_ONE (1ULL << 32)
#define SLOT_FREQUENCY (3ULL << 32)
#define SLOT_OFFSET 0xffffffffULL

struct segment { // of the log; what readers need first
    // Unique for each use of the segment, 0 while it is free.
    _Atomic uint64_t sequence;
    _Atomic uint64_t base_ms; // of its entries' expiries; 0 while not chosen
    _Atomic int32_t next;     // towards the newest, or the next free one
    int32_t previous;         // locked, as all that follows; towards the oldest
    uint16_t first_words;     // before the first entry that begins here
    uint16_t used_words;      // written
    uint16_t dead_words;      // of entries no longer in the index
};
static_assert(sizeof(struct segment) == 32, "two to a cache line");

struct queue { // locked
    int32_t oldest, newest;
    uint32_t cursor; // in the oldest segment: what lies before is consumed
    uint64_t span;   // bytes from the cursor to the end of the newest, dead ones included
};

struct ghosts {
    uint32_t sets;   // of GHOST_WAYS fingerprints
    uint32_t unit;   // additions per tick of the age
    uint64_t clock;  // additions
    uint64_t tail;   // the oldest that counts, in additions × 256
    uint64_t live;   // between tail and clock, those taken excepted
    uint32_t *table; // in the mapping
};

struct shard {
    // Read by every get: one cache line.
    _Atomic uint64_t index; // first line, counted from the mapping's start (32) | home lines (32)
    word *log;
    struct segment *segments;
    _Atomic uint64_t sequence; // the last one given to a segment
    const uint8_t *mapping;
    uint32_t shard_count;
    uint32_t segment_shift; // log2 of a segment's bytes
    uint32_t word_shift;    // and of its words
    uint32_t word_mask;
    uint32_t age_shift; // from segments to bytes of all shards

    // Under the lock, and read by cache_stats.
    _Alignas(64) _Atomic uint32_t lock;
    uint32_t segment_count; // populated
    int32_t free_segment;
    uint32_t free_count;
    struct queue small, main;
    uint64_t limit, small_limit; // bytes of both logs; of the small one
    struct ghosts ghosts;
    uint8_t *region;      // start of the shard's address space
    unsigned tables_area; // where index and ghosts are now
    _Atomic uint64_t items, item_bytes, dead_bytes;
    _Atomic uint64_t inserts, deletes, evictions, compactions, ghost_hits;
    _Atomic bool wrapped;
};

struct layout { // offsets within a shard's address space, and how much may be populated there
    uint64_t index[TABLE_AREAS], ghosts[TABLE_AREAS];
    uint64_t log, segments, stride;
};

struct sizes { // what a shard makes of its share of the bytes
    uint64_t home_lines, index_bytes, ghost_sets, ghost_bytes; // whole pages
    uint32_t segments;
    uint64_t log_bytes, segments_bytes;
    uint64_t limit; // of both logs
};

struct cache {
    uint32_t shard_count;
    uint32_t segment_shift;
    struct shard *shards;
    uint8_t *mapping, *unaligned; // the latter as mmap returned it
    size_t mapping_bytes, heads_bytes;
    struct layout layout;
    struct sizes sizes; // of each shard
    _Atomic uint64_t bytes_total, bytes_index, bytes_log, bytes_ghost; // for cache_stats
    struct cache_options options; // with every 0 replaced by what was chosen
};

static inline void count(_Atomic uint64_t *counter, uint64_t by) // under the lock
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + by, memory_order_relaxed);
}

// --- where a hash lives

struct place {
    uint64_t low;    // the hash's bits that did not choose the shard, as a fraction of 2^64
    uint64_t wanted; // the top of a matching slot
};

static inline struct shard *shard_of(const struct cache *cache, uint64_t hash)
{
    return &cache->shards[(uint64_t)(((unsigned __int128)hash * cache->shard_count) >> 64)];
}

static inline struct place place_of(const struct shard *shard, uint64_t hash)
{
    return (struct place){.low = hash * shard->shard_count,
                          .wanted = SLOT_USED | (hash & SLOT_TAG_MASK) << SLOT_TAG_SHIFT};
}

static inline bool slot_matches(uint64_t slot, uint64_t wanted)
{
    return slot - wanted < 1ULL << SLOT_TAG_SHIFT;
}

// The first slot of the first bucket where a key with this place may live.
static inline word *index_home(const struct shard *shard, uint64_t index, uint64_t low)
{
    uint64_t lines = index & 0xffffffff;
    uint64_t line = (index >> 32) + (uint64_t)(((unsigned __int128)low * lines) >> 64);
    return (word *)(shard->mapping + line * 64);
}

static inline uint64_t slot_offset(uint64_t slot)
{
    return (slot & SLOT_OFFSET) * 8;
}

static inline uint64_t segment_bytes(const struct shard *shard)
{
    return 1ULL << shard->segment_shift;
}

static inline struct segment *segment_of(const struct shard *shard, uint64_t offset)
{
    return &shard->segments[offset >> shard->segment_shift];
}

static inline uint32_t first_bytes(const struct shard *shard, int32_t number)
{
    return shard->segments[number].first_words * 8U;
}

static inline uint32_t used_bytes(const struct shard *shard, int32_t number)
{
    return shard->segments[number].used_words * 8U;
}

static inline uint32_t dead_bytes(const struct shard *shard, int32_t number)
{
    return shard->segments[number].dead_words * 8U;
}

// --- lock.c
void shard_lock(struct shard *shard);
void shard_unlock(struct shard *shard);

// --- index.c: under the lock
#define INDEX_NONE UINT64_MAX
struct found {
    word *slot;
    uint64_t offset; // in the log
    uint64_t hash;   // of the key
    struct entry entry;
};
// The entry of (key, scope), whatever its stamp and expiry.
bool index_find(const struct shard *shard, const struct cache_ref *ref, struct found *found);
// The entry at this offset of the log, if it is alive; its header must be intact.
bool index_find_offset(const struct shard *shard, uint64_t offset, struct found *found);
// A free slot where `hash` may live, or NULL. Moves others further if need be.
word *index_free_slot(struct shard *shard, uint64_t hash);
// The used slot in the way of `hash` whose entry is least worth keeping.
word *index_victim(const struct shard *shard, uint64_t hash);
// All slots, to walk over.
word *index_slots(const struct shard *shard, uint64_t *count);
// Fills a new index at `line` of the mapping with the live entries, and publishes it.
void index_rebuild(struct shard *shard, uint64_t line, uint64_t home_lines);

// --- ringlog.c: under the lock
void log_init(struct shard *shard);
// Makes segments [from, to) free.
void log_extend(struct shard *shard, uint32_t from, uint32_t to);
void log_decode(const struct shard *shard, uint64_t offset, struct entry *entry);
// Hash of the key of the entry at `offset`, whose decoded header is `entry`.
uint64_t log_hash(const struct shard *shard, uint64_t offset, const struct entry *entry);
// Copies the key of an entry to `out`, of LIMIT_CACHE_KEY bytes.
struct slice log_key(const struct shard *shard, uint64_t offset, const struct entry *entry,
                     uint8_t *out);
// Appends an entry and chooses entry->head. Returns its offset, or INDEX_NONE without segments.
uint64_t log_append(struct shard *shard, struct queue *queue, struct entry *entry,
                    const struct cache_ref *ref, struct slice value);
// Appends a copy of a live entry to `queue`. `tail` says it is the oldest of that queue: then its
// segments are freed as soon as they are read, so that moving needs no room of the entry's size.
uint64_t log_move(struct shard *shard, struct queue *queue, const struct found *found,
                  struct queue *tail);
// The offset of the oldest entry that is not consumed, or INDEX_NONE when the queue is empty.
uint64_t log_oldest(struct shard *shard, struct queue *queue);
// Consumes the queue's oldest entry, at `offset`.
void log_consume(struct shard *shard, struct queue *queue, uint64_t offset, uint64_t bytes);
// Accounts an entry as dead, in each segment where it lies.
void log_kill(struct shard *shard, uint64_t offset, uint64_t bytes);
// Gives a segment a new sequence: readers of entries that begin in it start over.
void log_renew(struct shard *shard, uint32_t number);
// Takes this very segment off the free list. False when it is not free.
bool log_take_free(struct shard *shard, uint32_t number);
// Frees a segment of the middle of a queue, whose entries have all been moved.
void log_unlink(struct shard *shard, struct queue *queue, uint32_t number);

// --- evict.c: S3-FIFO, under the lock
// Evicts until `bytes` more fit under the limit.
void evict_for(struct shard *shard, uint64_t bytes);
// Takes an entry out of the index. The log keeps its bytes, as dead ones.
void entry_drop(struct shard *shard, const struct found *found);
// Points the slot of a moved entry to its new offset; the old bytes are the caller's matter.
void entry_repoint(const struct found *found, uint64_t slot_bits, uint64_t offset);
// Does an entry that is removed from outside return to main when it is filled again?
static inline bool entry_worth(uint64_t slot)
{
    return (slot & (SLOT_MAIN | SLOT_FREQUENCY)) != 0;
}

// --- compact.c: under the lock
// Gives back the segment with the most dead bytes. False when that made no room.
bool compact_one(struct shard *shard);
// Moves the content of segment `from` to the free segment `to`, in place in its queue.
void compact_relocate(struct shard *shard, uint32_t from, uint32_t to);

// --- map.c: memory
// Sizes for a shard with `bytes` of its own. False when that is too small.
bool map_sizes(const struct cache *cache, uint64_t bytes, struct sizes *sizes);
// Makes [at, at + bytes) part of the cache. 0 or WEIR_ENOMEM.
int map_populate(const struct cache *cache, uint8_t *at, uint64_t bytes);
// Gives it back: it leaves RSS at once and stays readable, as zeros.
void map_give_back(uint8_t *at, uint64_t bytes);
// Publishes the sizes for cache_stats.
void map_account(struct cache *cache);
// The shard's share of `bytes`.
uint64_t map_share(const struct cache *cache, size_t bytes);

// --- ghost.c: under the lock
void ghost_init(struct ghosts *ghosts, void *table, uint32_t sets);
// Remembers a hash, and so many in all.
void ghost_add(struct ghosts *ghosts, uint64_t hash, uint64_t capacity);
bool ghost_has(const struct ghosts *ghosts, uint64_t hash);
// The same, and forgets it.
bool ghost_take(struct ghosts *ghosts, uint64_t hash);
// S3-FIFO remembers nine ghosts for ten objects.
static inline uint64_t ghost_capacity(const struct shard *shard)
{
    return atomic_load_explicit(&shard->items, memory_order_relaxed) * 9 / 10;
}
