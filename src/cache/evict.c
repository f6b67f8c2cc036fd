// S3-FIFO over a shard's two queues.
//
//   insert ──► small ──(oldest, used twice)──► main ◄─┐ (oldest, used: frequency - 1)
//     │          └─────(oldest, else)──► ghost   └────┘
//     └──(ghost remembers it)──► main            └──► out
//
// The small queue gives while it holds more than its share (10 %) or main is empty, so that it may
// fill the whole log before anything else is known. Before anything live is evicted, dead bytes
// are reclaimed if they are many: deleted entries stay in a log until their segment comes round.
#include "cache/shard.h"

enum { DEAD_SHARE = 16 }; // compaction starts when dead bytes pass limit / DEAD_SHARE

static void forget(struct shard *shard, const struct found *found)
{
    const struct entry *entry = &found->entry;
    atomic_store_explicit(found->slot, 0, memory_order_release);
    count(&shard->items, (uint64_t)-1);
    count(&shard->item_bytes, -((uint64_t)entry->key_size + entry->scope_size + entry->value_size));
}

void entry_drop(struct shard *shard, const struct found *found)
{
    forget(shard, found);
    log_kill(shard, found->offset, entry_bytes(&found->entry));
}

void entry_repoint(const struct found *found, uint64_t slot_bits, uint64_t offset)
{
    atomic_store_explicit(found->slot, (slot_bits & ~SLOT_OFFSET) | offset / 8,
                          memory_order_release);
}

static void evict(struct shard *shard, const struct found *found)
{
    forget(shard, found);
    count(&shard->evictions, 1);
}

// Moves the oldest entry of `queue` to main; without room for that it is evicted.
static bool keep(struct shard *shard, struct queue *queue, const struct found *found,
                 uint64_t slot_bits)
{
    uint64_t offset = log_move(shard, &shard->main, found, queue);
    if (offset == INDEX_NONE) {
        evict(shard, found);
        return false;
    }
    entry_repoint(found, slot_bits | SLOT_MAIN, offset);
    return true;
}

enum step { STEP_EMPTY, STEP_DEAD, STEP_KEPT, STEP_EVICTED };

// Deals with the oldest entry of the small queue.
static enum step step_small(struct shard *shard)
{
    struct found found;
    enum step step = STEP_DEAD;
    uint64_t offset = log_oldest(shard, &shard->small);
    if (offset == INDEX_NONE)
        return STEP_EMPTY;
    if (index_find_offset(shard, offset, &found)) {
        uint64_t slot = word_load(found.slot);
        if ((slot & SLOT_FREQUENCY) >= PROMOTE_AT * SLOT_FREQUENCY_ONE) {
            step = keep(shard, &shard->small, &found, slot & ~SLOT_FREQUENCY) ? STEP_KEPT
                                                                              : STEP_EVICTED;
        } else {
            ghost_add(&shard->ghosts, found.hash, ghost_capacity(shard));
            evict(shard, &found);
            step = STEP_EVICTED;
        }
    }
    log_consume(shard, &shard->small, offset, entry_bytes(&found.entry));
    return step;
}

// Deals with the oldest entry of the main queue.
static enum step step_main(struct shard *shard)
{
    struct found found;
    enum step step = STEP_DEAD;
    uint64_t offset = log_oldest(shard, &shard->main);
    if (offset == INDEX_NONE)
        return STEP_EMPTY;
    if (index_find_offset(shard, offset, &found)) {
        uint64_t slot = word_load(found.slot);
        step = STEP_EVICTED;
        if ((slot & SLOT_FREQUENCY) == 0)
            evict(shard, &found);
        else if (keep(shard, &shard->main, &found, slot - SLOT_FREQUENCY_ONE))
            step = STEP_KEPT;
    }
    log_consume(shard, &shard->main, offset, entry_bytes(&found.entry));
    return step;
}

static void evict_step(struct shard *shard)
{
    if (shard->small.span < shard->small_limit && step_main(shard) != STEP_EMPTY)
        return;
    if (step_small(shard) != STEP_KEPT)
        return;
    if (shard->main.span > shard->limit - shard->small_limit)
        while (step_main(shard) == STEP_KEPT)
            ;
}

void evict_for(struct shard *shard, uint64_t bytes)
{
    while (shard->small.span + shard->main.span + bytes > shard->limit) {
        if (shard->small.span + shard->main.span == 0)
            return;
        atomic_store_explicit(&shard->wrapped, true, memory_order_relaxed);
        uint64_t dead = atomic_load_explicit(&shard->dead_bytes, memory_order_relaxed);
        if (dead < shard->limit / DEAD_SHARE || !compact_one(shard))
            evict_step(shard);
    }
}
