// The index: buckets of one cache line with eight slots. A key lives in one of the PROBE_LINES
// buckets from its home on; entries never change their slot, so that a reader who scans these lines
// once finds what was there all the time. All scopes of a key share its buckets and its tag, so
// that one delete finds them together.
//
//   line  home          home + 1      home + 2      home + 3
//        │s s s s s s s s│s s s s s s s s│s s s s s s s s│s s s s s s s s│      load ≥ 0.9 works
//
// The last PROBE_LINES - 1 lines are nobody's home, so that nothing wraps around. When no slot is
// free, the entry of least use among the 32 has to go.
//
// Rejected: cuckoo displacement (a reader could miss an entry on the move); chained overflow
// buckets (memory that grows); 16-slot sets (overflow at load 0.9 loses 3 % of the entries).
#include "base/hash.h"
#include "cache/shard.h"

static uint64_t current(const struct shard *shard)
{
    return atomic_load_explicit(&shard->index, memory_order_relaxed);
}

static bool same_entry(const struct shard *shard, const struct found *found,
                       const struct cache_ref *ref)
{
    const struct entry *entry = &found->entry;
    if (entry->key_size != ref->key.size || entry->scope_size != ref->scope.size)
        return false;
    const word *at = shard->log + found->offset / 8;
    uint32_t scope = entry->head + entry->key_size;
    return words_equal(at + entry->head / 8, entry->head % 8, ref->key.data, ref->key.size) &&
           words_equal(at + scope / 8, scope % 8, ref->scope.data, ref->scope.size);
}

bool index_find(const struct shard *shard, const struct cache_ref *ref, struct found *found)
{
    struct place place = place_of(shard, ref->hash);
    found->hash = ref->hash;
    word *slots = index_home(shard, current(shard), place.low);
    for (int i = 0; i < PROBE_LINES * LINE_SLOTS; i++) {
        uint64_t slot = word_load(&slots[i]);
        if (!slot_matches(slot, place.wanted))
            continue;
        found->slot = &slots[i];
        found->offset = slot_offset(slot);
        log_decode(shard, found->offset, &found->entry);
        if (same_entry(shard, found, ref))
            return true;
    }
    return false;
}

bool index_find_offset(const struct shard *shard, uint64_t offset, struct found *found)
{
    log_decode(shard, offset, &found->entry);
    uint64_t hash = log_hash(shard, offset, &found->entry);
    struct place place = place_of(shard, hash);
    word *slots = index_home(shard, current(shard), place.low);
    found->offset = offset;
    for (int i = 0; i < PROBE_LINES * LINE_SLOTS; i++) {
        uint64_t slot = word_load(&slots[i]);
        if (slot_matches(slot, place.wanted) && slot_offset(slot) == offset) {
            found->slot = &slots[i];
            found->hash = hash;
            return true;
        }
    }
    return false;
}

static word *free_slot(word *slots)
{
    for (int i = 0; i < PROBE_LINES * LINE_SLOTS; i++)
        if (word_load(&slots[i]) == 0)
            return &slots[i];
    return NULL;
}

word *index_free_slot(const struct shard *shard, uint64_t hash)
{
    return free_slot(index_home(shard, current(shard), place_of(shard, hash).low));
}

word *index_victim(const struct shard *shard, uint64_t hash)
{
    word *slots = index_home(shard, current(shard), place_of(shard, hash).low);
    word *victim = NULL;
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < PROBE_LINES * LINE_SLOTS; i++) {
        uint64_t worth = word_load(&slots[i]) & (SLOT_MAIN | SLOT_FREQUENCY);
        if (worth < least) {
            least = worth;
            victim = &slots[i];
        }
    }
    return victim;
}

word *index_slots(const struct shard *shard, uint64_t *slots)
{
    uint64_t index = current(shard);
    *slots = ((index & 0xffffffff) + PROBE_LINES - 1) * LINE_SLOTS;
    return index_home(shard, index, 0);
}

void index_rebuild(struct shard *shard, uint64_t line, uint64_t home_lines)
{
    uint64_t slots, index = line << 32 | home_lines;
    word *old = index_slots(shard, &slots);
    for (uint64_t i = 0; i < slots; i++) {
        uint64_t slot = word_load(&old[i]);
        if (slot == 0)
            continue;
        struct found found = {.slot = &old[i], .offset = slot_offset(slot)};
        log_decode(shard, found.offset, &found.entry);
        uint64_t hash = log_hash(shard, found.offset, &found.entry);
        word *to = free_slot(index_home(shard, index, place_of(shard, hash).low));
        if (to != NULL) {
            word_store(to, slot);
        } else {
            entry_drop(shard, &found);
            count(&shard->evictions, 1);
        }
    }
    atomic_store_explicit(&shard->index, index, memory_order_release);
}
