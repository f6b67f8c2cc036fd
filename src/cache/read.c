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
    uint8_t *out;
    size_t room;
    struct cache_hit *hit; // NULL: copies and marks nothing
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

// What is left once the key is the right one. `at` is the entry's place in the log, in words.
HOT_INLINE enum seen read_value(const struct shard *shard, uint32_t at,
                                   const struct entry *entry, const struct lookup *look)
{
    if (entry->stamp < look->floor || entry->expires_ms <= look->now_ms)
        return SEEN_MISS;
    if (look->hit == NULL)
        return SEEN_HIT;
    look->hit->size = entry->value_size;
    look->hit->kind = entry->kind;
    look->hit->stamp = entry->stamp;
    look->hit->expires_ms = entry->expires_ms;
    if (entry->value_size > look->room)
        return SEEN_NO_ROOM;
    uint64_t begin = (at & shard->word_mask) * 8ULL + entry_front(entry);
    const word *from = shard->log + at + entry_front(entry) / 8;
    if (__builtin_expect(begin + entry->value_size <= segment_bytes(shard), 1)) {
        words_read(look->out, from, begin % 8, entry->value_size);
        return SEEN_HIT;
    }
    if (begin > segment_bytes(shard))
        return SEEN_CHANGED;
    bool whole = copy_chain(shard, at >> shard->word_shift, begin, look->out, entry->value_size);
    return whole ? SEEN_HIT : SEEN_CHANGED;
}

// An entry with the extended header.
static __attribute__((noinline)) enum seen read_extended(const struct shard *shard, uint32_t at,
                                                         uint64_t base_ms,
                                                         const struct lookup *look)
{
    const word *words = shard->log + at;
    const struct cache_ref *ref = look->ref;
    struct entry entry;
    entry_decode(&entry, words, base_ms);
    if (entry.key_size != ref->key.size || entry.scope_size != ref->scope.size)
        return SEEN_OTHER;
    uint32_t scope = entry.head + entry.key_size;
    if (!words_equal(words + entry.head / 8, 4, ref->key.data, ref->key.size) ||
        !words_equal(words + scope / 8, scope % 8, ref->scope.data, ref->scope.size))
        return SEEN_OTHER;
    return read_value(shard, at, &entry, look);
}

// Most entries: no scope, sizes and expiry in the common range. A key never reaches beyond its
// segment; comparing one that a writer is overwriting may, and reads other words of the mapping.
HOT_INLINE enum seen read_entry(const struct shard *shard, uint32_t at, uint64_t base_ms,
                                   const struct lookup *look)
{
    const word *words = shard->log + at;
    uint64_t first = word_load(words);
    if (__builtin_expect(entry_is_extended(first), 0)) {
        struct lookup copy = *look; // leaves *look to registers
        return read_extended(shard, at, base_ms, &copy);
    }
    struct entry entry;
    uint64_t second = word_load(words + 1);
    entry_decode_plain(&entry, first, (uint32_t)second, base_ms);
    struct slice key = look->ref->key;
    if (entry.key_size != key.size || look->ref->scope.size != 0 ||
        !words_equal_key(second, words + 2, key.data, key.size))
        return SEEN_OTHER;
    return read_value(shard, at, &entry, look);
}

// Readers of saturated entries write nothing that others read.
static inline void raise_frequency(word *at, uint64_t slot)
{
    if ((slot & SLOT_FREQUENCY) != SLOT_FREQUENCY)
        atomic_compare_exchange_strong_explicit(at, &slot, slot + SLOT_FREQUENCY_ONE,
                                                memory_order_relaxed, memory_order_relaxed);
}

static inline uint64_t position_of(uint64_t sequence, uint64_t slot)
{
    return sequence << 32 | (uint32_t)slot;
}

static inline bool slot_same(uint64_t now, uint64_t slot)
{
    return ((now ^ slot) & ~SLOT_FREQUENCY) == 0;
}

// Looks at the entry of one matching slot.
HOT_INLINE enum seen look_at(const struct shard *shard, word *at, uint64_t slot,
                                const struct lookup *look)
{
    const struct segment *segment = &shard->segments[(uint32_t)slot >> shard->word_shift];
    uint64_t sequence = atomic_load_explicit(&segment->sequence, memory_order_acquire);
    uint64_t again = atomic_load_explicit(at, memory_order_acquire);
    if (__builtin_expect(!slot_same(again, slot) || sequence == 0, 0))
        return SEEN_CHANGED;
    uint64_t base_ms = atomic_load_explicit(&segment->base_ms, memory_order_relaxed);
    enum seen seen = read_entry(shard, (uint32_t)slot, base_ms, look);
    fence_acquire();
    if (__builtin_expect(!slot_same(word_load(at), slot), 0) ||
        atomic_load_explicit(&segment->sequence, memory_order_relaxed) != sequence)
        return SEEN_CHANGED;
    if (look->hit != NULL && (seen == SEEN_HIT || seen == SEEN_NO_ROOM)) {
        uint64_t newest = atomic_load_explicit(&shard->sequence, memory_order_relaxed);
        look->hit->age_bytes = (newest - sequence) << shard->age_shift;
        look->hit->position = position_of(sequence, slot);
        raise_frequency(at, again);
    }
    return seen;
}

HOT_INLINE enum seen scan(const struct shard *shard, const struct lookup *look)
{
    uint64_t index = atomic_load_explicit(&shard->index, memory_order_acquire);
    struct place place = place_of(shard, look->ref->hash);
    word *slots = index_home(shard, index, place.low), *end = slots + PROBE_LINES * LINE_SLOTS;
#pragma GCC unroll 8
    for (; slots < end; slots++) {
        uint64_t slot = atomic_load_explicit(slots, memory_order_acquire);
        if (__builtin_expect(!slot_matches(slot, place.wanted), 1))
            continue;
        enum seen seen = look_at(shard, slots, slot, look);
        if (seen != SEEN_OTHER)
            return seen;
    }
    fence_acquire();
    if (atomic_load_explicit(&shard->index, memory_order_relaxed) != index)
        return SEEN_CHANGED; // what was scanned may have been an index given back
    return SEEN_MISS;
}

static __attribute__((noinline)) enum seen try_again(struct shard *shard,
                                                     const struct lookup *look)
{
    for (int i = 1; i <= READ_TRIES; i++) {
        bool locked = i == READ_TRIES;
        if (locked)
            shard_lock(shard);
        enum seen seen = scan(shard, look);
        if (locked)
            shard_unlock(shard);
        if (seen != SEEN_CHANGED)
            return seen;
    }
    CHECK(false); // under the lock nothing changes
}

HOT_INLINE enum seen lookup(struct cache *cache, const struct lookup *look)
{
    struct shard *shard = shard_of(cache, look->ref->hash);
    enum seen seen = scan(shard, look);
    if (__builtin_expect(seen == SEEN_CHANGED, 0)) {
        struct lookup copy = *look;
        return try_again(shard, &copy);
    }
    return seen;
}

enum cache_verdict cache_get(struct cache *cache, const struct cache_ref *ref, uint32_t floor,
                             uint64_t now_ms, void *out, size_t room, struct cache_hit *hit)
{
    struct lookup look = {
        .ref = ref, .now_ms = now_ms, .floor = floor, .out = out, .room = room, .hit = hit};
    enum seen seen = lookup(cache, &look);
    static_assert(SEEN_HIT - CACHE_HIT == SEEN_NO_ROOM - CACHE_NO_ROOM, "verdicts follow sights");
    return seen <= SEEN_MISS ? CACHE_MISS : (enum cache_verdict)(seen - SEEN_HIT + CACHE_HIT);
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
        if (position_of(sequence, slot) == position)
            return slot_same(word_load(&slots[i]), slot) &&
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
