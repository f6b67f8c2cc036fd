// The index: buckets of one cache line with eight slots. A key lives in one of the PROBE_LINES
// buckets from its home on. All scopes of a key share its buckets and its tag, so that one delete
// finds them together.
//
//   line  home          home + 1      home + 2      …   home + 4
//        │s s s s s s s s│s s s s s s s s│s s s s s s s s│   │s s s s s s s s│
//
// Hopscotch: when all 40 slots are taken, the nearest free slot behind them is brought closer by
// moving entries forward into it, each within its own lines. A load of 0.87 then loses one insert
// in thousands, 0.9 one in a hundred. When that fails, the entry of least use among the 40 has to
// go.
//
// Entries move forward only, and the new slot is written before the old is cleared: a reader who
// scans forward finds what was there all the time. The last PROBE_LINES - 1 lines are nobody's
// home, so that nothing wraps around.
//
// Rejected: cuckoo hashing (two places to look, and moves a reader can miss); plain linear probing
// (clusters outgrow 40 slots at load 0.9, 4 % of the entries are lost); chained overflow buckets.
#include "base/hash.h"
#include "cache/shard.h"

enum { HOP_SLOTS = 512 }; // how far behind its lines a free slot is looked for

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

// The first slot of the home of the entry that `slot` points to.
static word *home_of(const struct shard *shard, uint64_t index, uint64_t slot)
{
    struct entry entry;
    log_decode(shard, slot_offset(slot), &entry);
    uint64_t hash = log_hash(shard, slot_offset(slot), &entry);
    return index_home(shard, index, place_of(shard, hash).low);
}

// Moves an entry that lies before the free slot `gap` into it. Returns the slot freed, or NULL.
static word *hop(const struct shard *shard, uint64_t index, word *first, word *gap)
{
    word *line = first + (gap - first) / LINE_SLOTS * LINE_SLOTS;
    word *earliest = line - (PROBE_LINES - 1) * LINE_SLOTS; // home from which `gap` is in reach
    for (word *from = earliest; from < gap; from++) {
        uint64_t slot = word_load(from);
        if (home_of(shard, index, slot) < earliest)
            continue;
        atomic_store_explicit(gap, slot, memory_order_release);
        atomic_store_explicit(from, 0, memory_order_release);
        return from;
    }
    return NULL;
}

// A free slot among the PROBE_LINES from `home` on.
static word *make_slot(const struct shard *shard, uint64_t index, word *home)
{
    word *gap = free_slot(home);
    if (gap != NULL)
        return gap;
    word *first = index_home(shard, index, 0);
    word *end = first + ((index & 0xffffffff) + PROBE_LINES - 1) * LINE_SLOTS;
    word *reach = home + PROBE_LINES * LINE_SLOTS;
    word *limit = end - reach > HOP_SLOTS ? reach + HOP_SLOTS : end;
    for (gap = reach; gap < limit && word_load(gap) != 0; gap++)
        ;
    if (gap >= limit)
        return NULL;
    while (gap != NULL && gap >= reach)
        gap = hop(shard, index, first, gap);
    return gap;
}

word *index_free_slot(struct shard *shard, uint64_t hash)
{
    uint64_t index = current(shard);
    return make_slot(shard, index, index_home(shard, index, place_of(shard, hash).low));
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
        word *to = make_slot(shard, index, index_home(shard, index, place_of(shard, hash).low));
        if (to != NULL) {
            word_store(to, slot);
        } else {
            entry_drop(shard, &found);
            count(&shard->evictions, 1);
        }
    }
    atomic_store_explicit(&shard->index, index, memory_order_release);
}
