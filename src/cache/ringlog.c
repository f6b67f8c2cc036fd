// The log of a shard: one array of segments of a power of two bytes, cut into three chains.
//
//   small   oldest ─► ■■■■ ─► ■■■■ ─► ■■··  newest        each segment:  first   used
//               cursor ─┘                                     │~~~~~~~~~~│E1│E2│E3~~~│
//   main    oldest ─► ■■■■ ─► … ─► ■···  newest                └ rest of an entry that began
//   free    ─► □ ─► □ ─► □                                       in the segment before
//
// Entries are appended at the newest end and consumed at the oldest. An entry whose value is
// larger than what its segment has left goes on in the next of the chain, so any size fits and a
// segment is filled to its end (but for a header, key and scope, which stay together).
//
// Invariants:
// - A segment's sequence is 0 while it is free and new for each use, so it changes before the
//   segment is written again. A reader that finds it unchanged after its copy, and the slot too,
//   has copied one live entry: had the entry gone on in segments that were freed meanwhile, its
//   first segment would have been freed before them.
// - span(queue) counts all bytes of its segments but those before the cursor and the unwritten end
//   of the newest. The limit bounds the spans, SEGMENT_SLACK covers the rest.
//
// Rejected: two rings of fixed share (a small queue of 10 % would leave 90 % empty until something
// is promoted); entries confined to a segment (1 MB values need 1 MB segments); double mapping of
// a shared file (counts as shared memory, and needs a file).
#include "base/hash.h"
#include "base/limits.h"
#include "cache/shard.h"

void log_init(struct shard *shard)
{
    shard->free_segment = SEGMENT_NONE;
    shard->small = shard->main = (struct queue){.oldest = SEGMENT_NONE, .newest = SEGMENT_NONE};
}

static int32_t next_of(const struct shard *shard, int32_t number)
{
    return atomic_load_explicit(&shard->segments[number].next, memory_order_relaxed);
}

static uint64_t base_of(const struct shard *shard, int32_t number)
{
    return atomic_load_explicit(&shard->segments[number].base_ms, memory_order_relaxed);
}

static void link(struct shard *shard, int32_t number, int32_t next)
{
    atomic_store_explicit(&shard->segments[number].next, next, memory_order_relaxed);
}

static void segment_free(struct shard *shard, int32_t number)
{
    struct segment *segment = &shard->segments[number];
    uint64_t dead = atomic_load_explicit(&shard->dead_bytes, memory_order_relaxed);
    dead -= dead_bytes(shard, number);
    atomic_store_explicit(&shard->dead_bytes, dead, memory_order_relaxed);
    segment->dead_words = 0;
    atomic_store_explicit(&segment->sequence, 0, memory_order_release);
    link(shard, number, shard->free_segment);
    shard->free_segment = number;
    shard->free_count++;
}

void log_extend(struct shard *shard, uint32_t from, uint32_t to)
{
    for (uint32_t number = to; number-- > from;)
        segment_free(shard, (int32_t)number);
}

void log_renew(struct shard *shard, uint32_t number)
{
    uint64_t sequence = atomic_load_explicit(&shard->sequence, memory_order_relaxed) + 1;
    atomic_store_explicit(&shard->sequence, sequence, memory_order_relaxed);
    atomic_store_explicit(&shard->segments[number].sequence, sequence, memory_order_release);
    fence_release(); // whoever sees a word written from now on sees the new sequence
}

bool log_take_free(struct shard *shard, uint32_t number)
{
    int32_t before = SEGMENT_NONE, at = shard->free_segment;
    for (; at != SEGMENT_NONE && at != (int32_t)number; at = next_of(shard, at))
        before = at;
    if (at == SEGMENT_NONE)
        return false;
    if (before == SEGMENT_NONE)
        shard->free_segment = next_of(shard, at);
    else
        link(shard, before, next_of(shard, at));
    shard->free_count--;
    return true;
}

// Closes the queue's newest segment and opens a free one behind it.
static bool open_segment(struct shard *shard, struct queue *queue)
{
    int32_t number = shard->free_segment, before = queue->newest;
    if (number == SEGMENT_NONE)
        return false;
    shard->free_segment = next_of(shard, number);
    shard->free_count--;
    log_renew(shard, (uint32_t)number);
    struct segment *segment = &shard->segments[number];
    atomic_store_explicit(&segment->base_ms, 0, memory_order_relaxed);
    segment->first_words = segment->used_words = segment->dead_words = 0;
    segment->previous = before;
    link(shard, number, SEGMENT_NONE);
    queue->newest = number;
    if (before == SEGMENT_NONE) {
        queue->oldest = number;
        queue->cursor = 0;
    } else {
        queue->span += segment_bytes(shard) - used_bytes(shard, before);
        link(shard, before, number);
    }
    return true;
}

static void free_oldest(struct shard *shard, struct queue *queue)
{
    int32_t number = queue->oldest, next = next_of(shard, number);
    uint64_t end = next == SEGMENT_NONE ? used_bytes(shard, number) : segment_bytes(shard);
    queue->span -= end - queue->cursor;
    segment_free(shard, number);
    queue->oldest = next;
    if (next == SEGMENT_NONE) {
        CHECK(queue->span == 0);
        queue->newest = SEGMENT_NONE;
        queue->cursor = 0;
        return;
    }
    shard->segments[next].previous = SEGMENT_NONE;
    queue->cursor = first_bytes(shard, next);
    queue->span -= queue->cursor;
}

void log_unlink(struct shard *shard, struct queue *queue, uint32_t number)
{
    int32_t before = shard->segments[number].previous, next = next_of(shard, (int32_t)number);
    CHECK(before != SEGMENT_NONE && next != SEGMENT_NONE);
    link(shard, before, next);
    shard->segments[next].previous = before;
    queue->span -= segment_bytes(shard);
    segment_free(shard, (int32_t)number);
}

void log_decode(const struct shard *shard, uint64_t offset, struct entry *entry)
{
    entry_decode(entry, shard->log + offset / 8,
                 base_of(shard, (int32_t)(offset >> shard->segment_shift)));
}

struct slice log_key(const struct shard *shard, uint64_t offset, const struct entry *entry,
                     uint8_t *out)
{
    CHECK(entry->key_size <= LIMIT_CACHE_KEY);
    words_read(out, shard->log + (offset + entry->head) / 8, entry->head % 8, entry->key_size);
    return slice_of(out, entry->key_size);
}

uint64_t log_hash(const struct shard *shard, uint64_t offset, const struct entry *entry)
{
    uint8_t key[LIMIT_CACHE_KEY];
    return hash_key(log_key(shard, offset, entry, key));
}

// --- appending

// Where the next bytes of a queue go.
struct pen {
    struct shard *shard;
    struct queue *queue;
};

static uint64_t room(const struct pen *pen)
{
    if (pen->queue->newest == SEGMENT_NONE)
        return 0;
    return segment_bytes(pen->shard) - used_bytes(pen->shard, pen->queue->newest);
}

static uint64_t pen_offset(const struct pen *pen)
{
    uint64_t number = (uint64_t)pen->queue->newest;
    return (number << pen->shard->segment_shift) + used_bytes(pen->shard, (int32_t)number);
}

// Advances over `bytes`, whole words, which were written.
static void pen_advance(const struct pen *pen, uint64_t bytes)
{
    struct segment *segment = &pen->shard->segments[pen->queue->newest];
    segment->used_words = (uint16_t)(segment->used_words + bytes / 8);
    pen->queue->span += bytes;
}

// Makes room for a new entry's front, chooses its head and the segment's base. Returns the offset
// where it begins. At least one segment is free.
static uint64_t pen_begin(const struct pen *pen, struct entry *entry)
{
    struct shard *shard = pen->shard;
    uint64_t base = pen->queue->newest == SEGMENT_NONE ? 0 : base_of(shard, pen->queue->newest);
    entry->head = entry_extends(entry, base) ? ENTRY_HEAD_EXTENDED : ENTRY_HEAD;
    if (room(pen) < ((entry_front(entry) + 7ULL) & ~7ULL)) {
        CHECK(open_segment(shard, pen->queue));
        base = 0;
        entry->head = entry_extends(entry, base) ? ENTRY_HEAD_EXTENDED : ENTRY_HEAD;
    }
    if (base == 0 && entry->head == ENTRY_HEAD)
        atomic_store_explicit(&shard->segments[pen->queue->newest].base_ms,
                              entry_base_for(entry->expires_ms), memory_order_relaxed);
    return pen_offset(pen);
}

// Opens the next segment for the rest of an entry. Segments were counted before.
static void pen_turn(const struct pen *pen, uint64_t rest)
{
    CHECK(open_segment(pen->shard, pen->queue));
    uint64_t bytes = segment_bytes(pen->shard);
    struct segment *segment = &pen->shard->segments[pen->queue->newest];
    segment->first_words = (uint16_t)((rest < bytes ? rest : bytes) / 8);
}

static uint64_t segments_for(const struct shard *shard, uint64_t bytes)
{
    return (bytes >> shard->segment_shift) + 2;
}

uint64_t log_append(struct shard *shard, struct queue *queue, struct entry *entry,
                    const struct cache_ref *ref, struct slice value)
{
    if (shard->free_count < segments_for(shard, entry_bytes(entry)))
        return INDEX_NONE;
    struct pen pen = {shard, queue};
    uint64_t offset = pen_begin(&pen, entry);
    uint64_t base = base_of(shard, queue->newest);

    uint8_t front[ENTRY_HEAD_EXTENDED + LIMIT_CACHE_KEY + LIMIT_CACHE_SCOPE + 8];
    uint8_t *end = front + entry->head;
    entry_encode(entry, base, front);
    if (ref->key.size != 0)
        memcpy(end, ref->key.data, ref->key.size);
    end += ref->key.size;
    if (ref->scope.size != 0)
        memcpy(end, ref->scope.data, ref->scope.size);
    end += ref->scope.size;
    size_t gap = (size_t)(front - end) & 7; // of the value, completes the last word
    if (gap > value.size)
        gap = value.size;
    if (gap != 0)
        memcpy(end, value.data, gap);
    end += gap;

    uint64_t rest = entry_bytes(entry);
    uint64_t written = ((uint64_t)(end - front) + 7) & ~7ULL;
    words_write(shard->log + offset / 8, front, (size_t)(end - front));
    pen_advance(&pen, written);
    rest -= written;
    const uint8_t *from = value.data + gap;
    size_t left = value.size - gap;
    while (rest != 0) {
        if (room(&pen) == 0)
            pen_turn(&pen, rest);
        uint64_t part = rest < room(&pen) ? rest : room(&pen);
        size_t bytes = left < part ? left : (size_t)part;
        words_write(shard->log + pen_offset(&pen) / 8, from, bytes);
        pen_advance(&pen, part);
        from += bytes;
        left -= bytes;
        rest -= part;
    }
    return offset;
}

// --- moving

// Reads on in the next segment; frees the one that was read when the entry is its queue's oldest.
static int32_t source_turn(struct shard *shard, int32_t number, struct queue *tail)
{
    int32_t next = next_of(shard, number);
    CHECK(next != SEGMENT_NONE);
    if (tail != NULL) {
        CHECK(tail->oldest == number);
        free_oldest(shard, tail);
    }
    return next;
}

uint64_t log_move(struct shard *shard, struct queue *queue, const struct found *found,
                  struct queue *tail)
{
    uint64_t segment_mask = segment_bytes(shard) - 1;
    uint64_t from = found->offset, bytes = entry_bytes(&found->entry);
    struct entry entry = found->entry;
    if (shard->free_count < (tail != NULL ? 2 : segments_for(shard, bytes)))
        return INDEX_NONE;
    struct pen pen = {shard, queue};
    uint64_t offset = pen_begin(&pen, &entry);
    uint64_t base = base_of(shard, queue->newest);

    // The header's last four bytes share a word with what follows it, which stays where it is
    // within its word, because the two kinds of headers differ by eight bytes.
    uint64_t head[3] = {0};
    entry_encode(&entry, base, (uint8_t *)head);
    uint64_t last = entry.head / 8, skipped = found->entry.head / 8 + 1;
    head[last] |= word_load(shard->log + from / 8 + skipped - 1) & ~0xffffffffULL;
    words_write(shard->log + offset / 8, (uint8_t *)head, (size_t)(last + 1) * 8);
    pen_advance(&pen, (last + 1) * 8);

    uint64_t rest = bytes - skipped * 8;
    int32_t number = (int32_t)(from >> shard->segment_shift);
    uint64_t at = (from & segment_mask) + skipped * 8;
    while (rest != 0) {
        if (at == segment_bytes(shard)) {
            number = source_turn(shard, number, tail);
            at = 0;
        }
        if (room(&pen) == 0)
            pen_turn(&pen, rest);
        uint64_t part = rest < room(&pen) ? rest : room(&pen);
        if (part > segment_bytes(shard) - at)
            part = segment_bytes(shard) - at;
        uint64_t source = ((uint64_t)number << shard->segment_shift) + at;
        words_copy(shard->log + pen_offset(&pen) / 8, shard->log + source / 8, (size_t)(part / 8));
        pen_advance(&pen, part);
        at += part;
        rest -= part;
    }
    return offset;
}

// --- consuming

uint64_t log_oldest(struct shard *shard, struct queue *queue)
{
    while (queue->oldest != SEGMENT_NONE) {
        uint32_t used = used_bytes(shard, queue->oldest);
        uint64_t offset = ((uint64_t)queue->oldest << shard->segment_shift) + queue->cursor;
        if (queue->cursor < used)
            return offset;
        free_oldest(shard, queue);
    }
    return INDEX_NONE;
}

void log_consume(struct shard *shard, struct queue *queue, uint64_t offset, uint64_t bytes)
{
    if (queue->oldest != (int32_t)(offset >> shard->segment_shift))
        return; // its move has freed the segment
    uint64_t left = used_bytes(shard, queue->oldest) - queue->cursor;
    if (bytes > left)
        bytes = left;
    queue->cursor += (uint32_t)bytes;
    queue->span -= bytes;
}

void log_kill(struct shard *shard, uint64_t offset, uint64_t bytes)
{
    int32_t number = (int32_t)(offset >> shard->segment_shift);
    uint64_t room_left = segment_bytes(shard) - (offset & (segment_bytes(shard) - 1));
    count(&shard->dead_bytes, bytes);
    for (;;) {
        uint64_t part = bytes < room_left ? bytes : room_left;
        struct segment *segment = &shard->segments[number];
        segment->dead_words = (uint16_t)(segment->dead_words + part / 8);
        bytes -= part;
        if (bytes == 0)
            return;
        number = next_of(shard, number);
        CHECK(number != SEGMENT_NONE);
        room_left = segment_bytes(shard);
    }
}
