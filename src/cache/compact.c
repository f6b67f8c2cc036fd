// Reclaiming and moving whole segments.
//
// Compaction takes the segment with the most dead bytes, appends what lives in it to its queue's
// newest end, and frees it. Under writes, dead bytes gather where the hottest keys are refilled and
// dropped again, near the newest end, so moving the rest there changes the order of eviction
// little. A value that began in an earlier segment and goes on in this one moves as well, unless it
// is large.
//
// Rejected: compacting in order, from the oldest on (copies every live byte of the queue to find
// the few segments where the dead ones are).
#include "cache/shard.h"

enum { WORTH = 4 }; // a segment is compacted when at least 1/WORTH of it is dead

static int32_t next_of(const struct shard *shard, int32_t number)
{
    return atomic_load_explicit(&shard->segments[number].next, memory_order_relaxed);
}

// The live entry that began before segment `number` and goes on in it.
static bool leading(const struct shard *shard, const struct queue *queue, int32_t number,
                    struct found *found)
{
    const struct segment *segments = shard->segments;
    if (first_bytes(shard, number) == 0)
        return false;
    do {
        number = segments[number].previous;
        if (number == SEGMENT_NONE)
            return false; // consumed
    } while (first_bytes(shard, number) == segment_bytes(shard));
    uint64_t start = (uint64_t)number << shard->segment_shift;
    uint64_t at = number == queue->oldest ? queue->cursor : first_bytes(shard, number);
    while (at < used_bytes(shard, number)) {
        struct entry entry;
        log_decode(shard, start + at, &entry);
        if (at + entry_bytes(&entry) > segment_bytes(shard))
            return index_find_offset(shard, start + at, found);
        at += entry_bytes(&entry);
    }
    return false;
}

// The most dead segment of a queue that is neither its oldest nor its newest, if more than `least`.
static int32_t most_dead(const struct shard *shard, const struct queue *queue, uint64_t *least)
{
    int32_t best = SEGMENT_NONE;
    struct found found;
    if (queue->oldest == SEGMENT_NONE)
        return best;
    for (int32_t i = next_of(shard, queue->oldest); i != SEGMENT_NONE && i != queue->newest;
         i = next_of(shard, i)) {
        if (dead_bytes(shard, i) <= *least)
            continue;
        if (leading(shard, queue, i, &found) &&
            entry_bytes(&found.entry) > segment_bytes(shard) / 2)
            continue;
        *least = dead_bytes(shard, i);
        best = i;
    }
    return best;
}

static bool move_to_newest(struct shard *shard, struct queue *queue, const struct found *found)
{
    uint64_t slot = word_load(found->slot);
    uint64_t offset = log_move(shard, queue, found, NULL);
    if (offset == INDEX_NONE)
        return false;
    entry_repoint(found, slot, offset);
    log_kill(shard, found->offset, entry_bytes(&found->entry));
    return true;
}

static bool compact_segment(struct shard *shard, struct queue *queue, int32_t number)
{
    uint64_t start = (uint64_t)number << shard->segment_shift;
    struct found found;
    if (leading(shard, queue, number, &found) && !move_to_newest(shard, queue, &found))
        return false;
    uint64_t end = used_bytes(shard, number);
    for (uint64_t at = first_bytes(shard, number); at < end; at += entry_bytes(&found.entry))
        if (index_find_offset(shard, start + at, &found) &&
            !move_to_newest(shard, queue, &found))
            return false;
    log_unlink(shard, queue, (uint32_t)number);
    count(&shard->compactions, 1);
    return true;
}

bool compact_one(struct shard *shard)
{
    uint64_t least = segment_bytes(shard) / WORTH;
    struct queue *queue = &shard->small;
    int32_t number = most_dead(shard, &shard->small, &least);
    int32_t other = most_dead(shard, &shard->main, &least);
    if (other != SEGMENT_NONE) {
        number = other;
        queue = &shard->main;
    }
    uint64_t before = queue->span;
    // Long keys moved may leave as much unused at the end of a segment as was dead.
    return number != SEGMENT_NONE && compact_segment(shard, queue, number) && queue->span < before;
}

// --- relocation

static struct queue *queue_of(struct shard *shard, int32_t number)
{
    for (int32_t i = shard->small.oldest; i != SEGMENT_NONE; i = next_of(shard, i))
        if (i == number)
            return &shard->small;
    return &shard->main;
}

static void relink(struct shard *shard, struct queue *queue, int32_t from, int32_t to)
{
    int32_t previous = shard->segments[from].previous, next = next_of(shard, from);
    if (previous == SEGMENT_NONE)
        queue->oldest = to;
    else
        atomic_store_explicit(&shard->segments[previous].next, to, memory_order_relaxed);
    if (next == SEGMENT_NONE)
        queue->newest = to;
    else
        shard->segments[next].previous = to;
}

void compact_relocate(struct shard *shard, uint32_t from, uint32_t to)
{
    struct segment *source = &shard->segments[from], *target = &shard->segments[to];
    struct queue *queue = queue_of(shard, (int32_t)from);
    uint64_t old = (uint64_t)from << shard->segment_shift;
    uint64_t new = (uint64_t)to << shard->segment_shift;
    struct found found;

    // Readers of the entry that only goes on in this segment validate by the segment it began in.
    bool led = leading(shard, queue, (int32_t)from, &found);
    uint32_t led_by = led ? (uint32_t)(found.offset >> shard->segment_shift) : 0;
    log_renew(shard, to);
    words_copy(shard->log + new / 8, shard->log + old / 8, (size_t)(segment_bytes(shard) / 8));
    uint64_t base = atomic_load_explicit(&source->base_ms, memory_order_relaxed);
    atomic_store_explicit(&target->base_ms, base, memory_order_relaxed);
    atomic_store_explicit(&target->next, next_of(shard, (int32_t)from), memory_order_relaxed);
    target->previous = source->previous;
    target->first_words = source->first_words;
    target->used_words = source->used_words;
    target->dead_words = source->dead_words;
    relink(shard, queue, (int32_t)from, (int32_t)to);
    if (led)
        log_renew(shard, led_by);

    uint64_t at = queue->oldest == (int32_t)to ? queue->cursor : first_bytes(shard, (int32_t)from);
    for (; at < used_bytes(shard, (int32_t)from); at += entry_bytes(&found.entry))
        if (index_find_offset(shard, old + at, &found))
            entry_repoint(&found, word_load(found.slot), new + at);
    source->dead_words = 0;
}
