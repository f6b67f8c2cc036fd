// The cache's writers and reports, each under the lock of one shard at a time; lookups are in
// read.c. See shard.h for the layout.
//
// A key removed from outside (deleted, or replaced) while it was in main or had been used is
// remembered as a ghost, so that its next fill goes to main: an invalidation says nothing against
// the worth of a key.
#include "base/err.h"
#include "base/hash.h"
#include "base/limits.h"
#include "cache/shard.h"

enum { WALK_SLOTS = 512 }; // slots looked at under one lock

// Drops the entry and remembers it if it was worth keeping.
static void invalidate(struct shard *shard, const struct found *found)
{
    if (entry_worth(word_load(found->slot)))
        ghost_add(&shard->ghosts, found->hash, ghost_capacity(shard));
    entry_drop(shard, found);
}

static bool take_ghost(struct shard *shard, uint64_t hash)
{
    bool ghost = ghost_take(&shard->ghosts, hash);
    if (ghost)
        count(&shard->ghost_hits, 1);
    return ghost;
}

// A free slot for `hash`, made by eviction if need be.
static word *take_slot(struct shard *shard, uint64_t hash)
{
    word *slot = index_free_slot(shard, hash);
    if (slot != NULL)
        return slot;
    struct found victim = {.slot = index_victim(shard, hash)};
    victim.offset = slot_offset(word_load(victim.slot));
    log_decode(shard, victim.offset, &victim.entry);
    entry_drop(shard, &victim);
    count(&shard->evictions, 1);
    return victim.slot;
}

static int insert(struct shard *shard, const struct cache_ref *ref, struct slice value,
                  struct entry *entry)
{
    struct found found;
    uint64_t bytes = entry_bytes(entry);
    bool to_main = false;
    if (index_find(shard, ref, &found)) {
        to_main = entry_worth(word_load(found.slot));
        entry_drop(shard, &found);
    }
    if (bytes > shard->limit / 2)
        return WEIR_ENOMEM;
    to_main |= take_ghost(shard, ref->hash);
    evict_for(shard, bytes);
    struct queue *queue = to_main ? &shard->main : &shard->small;
    uint64_t offset = log_append(shard, queue, entry, ref, value);
    if (offset == INDEX_NONE)
        return WEIR_ENOMEM;
    word *slot = take_slot(shard, ref->hash);
    atomic_store_explicit(slot,
                          place_of(shard, ref->hash).wanted | (to_main ? SLOT_MAIN : 0) |
                              offset / 8,
                          memory_order_release);
    count(&shard->inserts, 1);
    count(&shard->items, 1);
    count(&shard->item_bytes, ref->key.size + ref->scope.size + value.size);
    return 0;
}

int cache_insert(struct cache *cache, const struct cache_ref *ref, struct slice value,
                 enum cache_kind kind, uint32_t stamp, uint64_t expires_ms)
{
    if (ref->key.size > LIMIT_CACHE_KEY || ref->scope.size > LIMIT_CACHE_SCOPE ||
        value.size > LIMIT_CACHE_VALUE)
        return WEIR_ERANGE;
    struct entry entry = {.expires_ms = expires_ms,
                          .stamp = stamp,
                          .key_size = (uint32_t)ref->key.size,
                          .scope_size = (uint32_t)ref->scope.size,
                          .value_size = (uint32_t)value.size,
                          .head = ref->scope.size != 0 ? ENTRY_HEAD_EXTENDED : ENTRY_HEAD,
                          .kind = (uint8_t)kind};
    struct shard *shard = shard_of(cache, ref->hash);
    shard_lock(shard);
    int error = insert(shard, ref, value, &entry);
    shard_unlock(shard);
    return error;
}

// Is there a slot with the tag of `hash`? Without the lock: an entry never changes its slot, and
// one that is being inserted right now may as well come after the question.
static bool may_hold(const struct shard *shard, uint64_t hash)
{
    uint64_t index = atomic_load_explicit(&shard->index, memory_order_acquire);
    struct place place = place_of(shard, hash);
    const word *slots = index_home(shard, index, place.low);
    for (int i = 0; i < PROBE_LINES * LINE_SLOTS; i++)
        if (slot_matches(word_load(&slots[i]), place.wanted))
            return true;
    fence_acquire();
    return atomic_load_explicit(&shard->index, memory_order_relaxed) != index;
}

unsigned cache_delete(struct cache *cache, uint64_t hash)
{
    struct shard *shard = shard_of(cache, hash);
    unsigned dropped = 0;
    if (!may_hold(shard, hash))
        return 0;
    shard_lock(shard);
    struct place place = place_of(shard, hash);
    word *slots = index_home(shard, atomic_load_explicit(&shard->index, memory_order_relaxed),
                             place.low);
    for (int i = 0; i < PROBE_LINES * LINE_SLOTS; i++) {
        uint64_t slot = word_load(&slots[i]);
        if (!slot_matches(slot, place.wanted))
            continue;
        struct found found = {.slot = &slots[i], .offset = slot_offset(slot), .hash = hash};
        log_decode(shard, found.offset, &found.entry);
        if (log_hash(shard, found.offset, &found.entry) != hash)
            continue;
        invalidate(shard, &found);
        dropped++;
    }
    count(&shard->deletes, dropped);
    shard_unlock(shard);
    return dropped;
}

// --- walks over all entries

struct walk {
    struct slice prefix;
    uint32_t floor;
};

static bool drops(const struct shard *shard, const struct walk *walk, const struct found *found)
{
    if (found->entry.stamp < walk->floor)
        return true;
    if (walk->prefix.data == NULL)
        return false;
    uint8_t key[LIMIT_CACHE_KEY];
    return slice_starts(log_key(shard, found->offset, &found->entry, key), walk->prefix);
}

// Walks at most WALK_SLOTS slots from *at on. Returns false at the end.
static bool walk_slice(struct shard *shard, const struct walk *walk, uint64_t *at,
                       uint64_t *dropped)
{
    uint64_t slots;
    word *slot = index_slots(shard, &slots);
    uint64_t end = *at + WALK_SLOTS < slots ? *at + WALK_SLOTS : slots;
    for (; *at < end; ++*at) {
        struct found found = {.slot = &slot[*at]};
        uint64_t bits = word_load(found.slot);
        if (bits == 0)
            continue;
        found.offset = slot_offset(bits);
        log_decode(shard, found.offset, &found.entry);
        if (!drops(shard, walk, &found))
            continue;
        entry_drop(shard, &found);
        count(&shard->deletes, 1);
        ++*dropped;
    }
    return end < slots;
}

static uint64_t walk_all(struct cache *cache, const struct walk *walk)
{
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < cache->shard_count; i++) {
        struct shard *shard = &cache->shards[i];
        uint64_t at = 0, index = 0;
        bool more = true;
        while (more) {
            shard_lock(shard);
            uint64_t now = atomic_load_explicit(&shard->index, memory_order_relaxed);
            if (now != index)
                at = 0; // resized meanwhile: the entries have other slots
            index = now;
            more = walk_slice(shard, walk, &at, &dropped);
            shard_unlock(shard);
        }
    }
    return dropped;
}

uint64_t cache_drop_prefix(struct cache *cache, struct slice prefix)
{
    struct walk walk = {.prefix = prefix.size != 0 ? prefix : SLICE("")};
    return walk_all(cache, &walk);
}

void cache_sweep(struct cache *cache, uint32_t floor)
{
    struct walk walk = {.floor = floor};
    walk_all(cache, &walk);
}

// --- reports

int cache_describe(struct cache *cache, const struct cache_ref *ref, struct cache_entry_info *info)
{
    struct shard *shard = shard_of(cache, ref->hash);
    struct found found;
    int result = WEIR_ENOENT;
    *info = (struct cache_entry_info){0};
    shard_lock(shard);
    if (index_find(shard, ref, &found)) {
        uint64_t slot = word_load(found.slot);
        info->size = found.entry.value_size;
        info->stamp = found.entry.stamp;
        info->expires_ms = found.entry.expires_ms;
        info->kind = found.entry.kind;
        info->frequency = (uint8_t)((slot & SLOT_FREQUENCY) / SLOT_FREQUENCY_ONE);
        info->in_main = (slot & SLOT_MAIN) != 0;
        result = 0;
    } else {
        info->ghost = ghost_has(&shard->ghosts, ref->hash);
    }
    shard_unlock(shard);
    return result;
}

static uint64_t relaxed(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void cache_stats(const struct cache *cache, struct cache_stats *out)
{
    *out = (struct cache_stats){.bytes_total = relaxed(&cache->bytes_total),
                                .bytes_index = relaxed(&cache->bytes_index),
                                .bytes_log = relaxed(&cache->bytes_log),
                                .bytes_ghost = relaxed(&cache->bytes_ghost),
                                .wrapped = true};
    for (uint32_t i = 0; i < cache->shard_count; i++) {
        const struct shard *shard = &cache->shards[i];
        out->items += relaxed(&shard->items);
        out->item_bytes += relaxed(&shard->item_bytes);
        out->inserts += relaxed(&shard->inserts);
        out->deletes += relaxed(&shard->deletes);
        out->evictions += relaxed(&shard->evictions);
        out->compactions += relaxed(&shard->compactions);
        out->ghost_hits += relaxed(&shard->ghost_hits);
        out->bytes_dead += relaxed(&shard->dead_bytes);
        out->wrapped &= atomic_load_explicit(&shard->wrapped, memory_order_relaxed);
    }
}
