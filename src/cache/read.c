// Lookups without a lock.
//
//   slot ─► sequence of its segment ─► slot again ─► header, key, value ─► slot and sequence again
//
// An entry is never changed where it lies; it goes away by its slot being cleared or pointed
// elsewhere first, then, once its segment is written again, by the sequence changing before.
// - The second look at the slot: the slot was current after the sequence was read, so the sequence
//   is that of the segment which holds this entry. (Else a key that comes back to the very offset
//   it had before could be read half written.)
// - The last look: neither changed while the header, key and value were copied, so they are those
//   of one live entry. A value that goes on in further segments is covered, because an entry's
//   first segment is freed before its others, or renewed when one of the others is moved.
//
// After READ_TRIES failures the reader takes the lock; a large value under a storm of writes would
// otherwise be copied in vain again and again.
//
// Rejected: a sequence lock per shard (any writer of the shard fails all its readers); reference
// counts (every hit writes to a shared line).
#include "cache/shard.h"

enum { READ_TRIES = 3 };

enum seen { SEEN_OTHER, SEEN_MISS, SEEN_HIT, SEEN_NO_ROOM, SEEN_CHANGED };

struct lookup {
    const struct cache_ref *ref;
    uint64_t now_ms;
    uint32_t floor;
    bool mark;
    uint8_t *out; // NULL copies nothing
    size_t room;
    struct cache_hit *hit;
};

// Copies a value that does not end in its first segment, `number`, where it begins at byte `at`,
// the segment's end at most. False when the chain ends too early: it changed meanwhile.
static bool copy_chain(const struct shard *shard, uint64_t number, uint64_t at, uint8_t *out,
                       size_t size)
{
    for (;;) {
        size_t left = (size_t)(segment_bytes(shard) - at);
        size_t part = size < left ? size : left;
        words_read(out, shard->log + ((number << shard->segment_shift) + at) / 8, at % 8, part);
        out += part;
        size -= part;
        if (size == 0)
            return true;
        int32_t next = atomic_load_explicit(&shard->segments[number].next, memory_order_relaxed);
        if (next < 0)
            return false;
        number = (uint64_t)next;
        at = 0;
    }
}

static inline enum seen read_entry(const struct shard *shard, uint64_t offset,
                                   const struct segment *segment, const struct lookup *look,
                                   struct entry *entry)
{
    const word *at = shard->log + offset / 8;
    const struct cache_ref *ref = look->ref;
    entry_decode(entry, at, atomic_load_explicit(&segment->base_ms, memory_order_relaxed));
    if (entry->key_size != ref->key.size || entry->scope_size != ref->scope.size)
        return SEEN_OTHER;
    uint32_t front = entry_front(entry);
    uint64_t begin = offset & (segment_bytes(shard) - 1);
    uint64_t left = segment_bytes(shard) - begin;
    if (__builtin_expect(front > left, 0))
        return SEEN_CHANGED;
    if (!words_equal(at + entry->head / 8, 4, ref->key.data, ref->key.size))
        return SEEN_OTHER;
    uint32_t scope = entry->head + entry->key_size;
    if (__builtin_expect(ref->scope.size != 0, 0) &&
        !words_equal(at + scope / 8, scope % 8, ref->scope.data, ref->scope.size))
        return SEEN_OTHER;
    if (entry->stamp < look->floor || entry->expires_ms <= look->now_ms)
        return SEEN_MISS;
    if (look->out == NULL)
        return SEEN_HIT;
    if (entry->value_size > look->room)
        return SEEN_NO_ROOM;
    if (__builtin_expect(front + (uint64_t)entry->value_size <= left, 1)) {
        words_read(look->out, at + front / 8, front % 8, entry->value_size);
        return SEEN_HIT;
    }
    bool whole = copy_chain(shard, offset >> shard->segment_shift, begin + front, look->out,
                            entry->value_size);
    return whole ? SEEN_HIT : SEEN_CHANGED;
}

static void raise_frequency(word *at, uint64_t slot)
{
    if ((slot & SLOT_FREQUENCY) != SLOT_FREQUENCY)
        atomic_compare_exchange_strong_explicit(at, &slot, slot + SLOT_FREQUENCY_ONE,
                                                memory_order_relaxed, memory_order_relaxed);
}

static inline uint64_t position_of(const struct shard *shard, uint64_t sequence, uint64_t offset)
{
    return sequence << shard->segment_shift | (offset & (segment_bytes(shard) - 1));
}

static inline void describe_hit(const struct shard *shard, const struct lookup *look,
                                const struct entry *entry, uint64_t sequence, uint64_t offset)
{
    uint64_t newest = atomic_load_explicit(&shard->sequence, memory_order_relaxed);
    uint64_t segments = newest > sequence ? newest - sequence : 0;
    *look->hit = (struct cache_hit){
        .size = entry->value_size,
        .kind = entry->kind,
        .stamp = entry->stamp,
        .expires_ms = entry->expires_ms,
        .age_bytes = (segments << shard->segment_shift) * shard->shard_count,
        .position = position_of(shard, sequence, offset),
    };
}

static inline bool slot_same(const word *at, uint64_t slot)
{
    return ((word_load(at) ^ slot) & ~SLOT_FREQUENCY) == 0;
}

// Looks at the entry of one matching slot.
static inline enum seen look_at(const struct shard *shard, word *at, uint64_t slot,
                                const struct lookup *look)
{
    uint64_t offset = slot_offset(slot);
    const struct segment *segment = segment_of(shard, offset);
    uint64_t sequence = atomic_load_explicit(&segment->sequence, memory_order_acquire);
    uint64_t again = atomic_load_explicit(at, memory_order_acquire);
    if (((again ^ slot) & ~SLOT_FREQUENCY) != 0 || sequence == 0)
        return SEEN_CHANGED;
    struct entry entry;
    enum seen seen = read_entry(shard, offset, segment, look, &entry);
    fence_acquire();
    if (!slot_same(at, slot) ||
        atomic_load_explicit(&segment->sequence, memory_order_relaxed) != sequence)
        return SEEN_CHANGED;
    if (seen >= SEEN_HIT && look->hit != NULL) {
        describe_hit(shard, look, &entry, sequence, offset);
        raise_frequency(at, again);
    }
    return seen;
}

static inline enum seen scan(const struct shard *shard, const struct lookup *look)
{
    uint64_t index = atomic_load_explicit(&shard->index, memory_order_acquire);
    struct place place = place_of(shard, look->ref->hash);
    word *slots = index_home(shard, index, place.low);
    for (int i = 0; i < PROBE_LINES * LINE_SLOTS; i++) {
        uint64_t slot = atomic_load_explicit(&slots[i], memory_order_acquire);
        if (!slot_matches(slot, place.wanted))
            continue;
        enum seen seen = look_at(shard, &slots[i], slot, look);
        if (seen != SEEN_OTHER)
            return seen;
    }
    fence_acquire();
    if (atomic_load_explicit(&shard->index, memory_order_relaxed) != index)
        return SEEN_CHANGED; // what was scanned may have been an index given back
    return SEEN_MISS;
}

static __attribute__((noinline, cold)) enum seen scan_locked(struct shard *shard,
                                                             const struct lookup *look)
{
    shard_lock(shard);
    enum seen seen = scan(shard, look);
    shard_unlock(shard);
    CHECK(seen != SEEN_CHANGED);
    return seen;
}

static inline enum seen lookup(struct cache *cache, const struct lookup *look)
{
    struct shard *shard = shard_of(cache, look->ref->hash);
    for (int i = 0; i < READ_TRIES; i++) {
        enum seen seen = scan(shard, look);
        if (__builtin_expect(seen != SEEN_CHANGED, 1))
            return seen;
    }
    return scan_locked(shard, look);
}

enum cache_verdict cache_get(struct cache *cache, const struct cache_ref *ref, uint32_t floor,
                             uint64_t now_ms, void *out, size_t room, struct cache_hit *hit)
{
    uint8_t nowhere;
    struct lookup look = {.ref = ref,
                          .now_ms = now_ms,
                          .floor = floor,
                          .out = out != NULL ? out : &nowhere,
                          .room = out != NULL ? room : 0,
                          .hit = hit};
    switch (lookup(cache, &look)) {
    case SEEN_HIT:
        return CACHE_HIT;
    case SEEN_NO_ROOM:
        return CACHE_NO_ROOM;
    default:
        return CACHE_MISS;
    }
}

bool cache_peek(struct cache *cache, const struct cache_ref *ref, uint32_t floor, uint64_t now_ms)
{
    struct lookup look = {.ref = ref, .now_ms = now_ms, .floor = floor};
    return lookup(cache, &look) == SEEN_HIT;
}

bool cache_still(struct cache *cache, const struct cache_ref *ref, uint64_t position)
{
    const struct shard *shard = shard_of(cache, ref->hash);
    uint64_t index = atomic_load_explicit(&shard->index, memory_order_acquire);
    struct place place = place_of(shard, ref->hash);
    word *slots = index_home(shard, index, place.low);
    for (int i = 0; i < PROBE_LINES * LINE_SLOTS; i++) {
        uint64_t slot = atomic_load_explicit(&slots[i], memory_order_acquire);
        if (!slot_matches(slot, place.wanted))
            continue;
        const struct segment *segment = segment_of(shard, slot_offset(slot));
        uint64_t sequence = atomic_load_explicit(&segment->sequence, memory_order_acquire);
        if (position_of(shard, sequence, slot_offset(slot)) == position)
            return slot_same(&slots[i], slot) &&
                   atomic_load_explicit(&shard->index, memory_order_relaxed) == index;
    }
    return false;
}

void cache_prefetch(const struct cache *cache, uint64_t hash)
{
    const struct shard *shard = shard_of(cache, hash);
    uint64_t index = atomic_load_explicit(&shard->index, memory_order_relaxed);
    __builtin_prefetch((const void *)index_home(shard, index, place_of(shard, hash).low));
}

void cache_prefetch_entry(const struct cache *cache, uint64_t hash)
{
    const struct shard *shard = shard_of(cache, hash);
    uint64_t index = atomic_load_explicit(&shard->index, memory_order_relaxed);
    struct place place = place_of(shard, hash);
    const word *slots = index_home(shard, index, place.low);
    for (int i = 0; i < LINE_SLOTS; i++) {
        uint64_t slot = word_load(&slots[i]);
        if (!slot_matches(slot, place.wanted))
            continue;
        const uint8_t *entry = (const uint8_t *)(shard->log + (slot & SLOT_OFFSET));
        __builtin_prefetch(entry);
        __builtin_prefetch(entry + 64);
        __builtin_prefetch(segment_of(shard, slot_offset(slot)));
        return;
    }
}
