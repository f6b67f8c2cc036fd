#pragma once
// One entry in the log:
//
//   word 0      stamp (32) | expiry, ms since its segment's base (31) | extended (1)
//   [extension] scope size (8) | key size, high (8) | value size, high (8) | expiry / 2^31 (33)
//   word 1      value size, low (21) | key size, low (8) | kind (2) | key, scope, value …
//               └──────────────── 32 bits ───────────────┘
//
// 12 bytes before the key, 20 with the extension, which is there when the entry has a scope, when
// a size exceeds its low bits, or when the expiry is more than 2^30 ms off the segment's base (then
// the expiry is absolute). Entries are whole words. Header, key and scope lie in one segment; the
// value may go on in the next segments of the queue.
#include "base/slice.h"
#include "cache/words.h"

enum {
    ENTRY_HEAD = 12,
    ENTRY_HEAD_EXTENDED = 20,
    ENTRY_VALUE_BITS = 21,
    ENTRY_KEY_BITS = 8,
    ENTRY_EXPIRY_BITS = 31,
    ENTRY_BASE_BEFORE = 1 << 30, // how far a segment's base lies before its first expiry
};
#define ENTRY_EXTENDED (1ULL << 63)

struct entry {
    uint64_t expires_ms;
    uint32_t stamp;
    uint32_t key_size;
    uint32_t scope_size;
    uint32_t value_size;
    uint32_t head; // bytes before the key
    uint8_t kind;
};

static inline uint64_t entry_bytes(const struct entry *entry)
{
    uint64_t bytes = (uint64_t)entry->head + entry->key_size + entry->scope_size;
    return (bytes + entry->value_size + 7) & ~7ULL;
}

// Bytes that must lie in one segment.
static inline uint32_t entry_front(const struct entry *entry)
{
    return entry->head + entry->key_size + entry->scope_size;
}

// Does an entry of these sizes need the extension in a segment with this base? A base of 0 is one
// not chosen yet: the entry may choose it.
static inline bool entry_extends(const struct entry *entry, uint64_t base_ms)
{
    if (entry->scope_size != 0 || entry->key_size >> ENTRY_KEY_BITS != 0 ||
        entry->value_size >> ENTRY_VALUE_BITS != 0)
        return true;
    if (base_ms == 0)
        return entry->expires_ms == 0 || entry->expires_ms >> 62 != 0;
    return entry->expires_ms < base_ms || (entry->expires_ms - base_ms) >> ENTRY_EXPIRY_BITS != 0;
}

static inline uint64_t entry_base_for(uint64_t expires_ms)
{
    return expires_ms > ENTRY_BASE_BEFORE ? expires_ms - ENTRY_BASE_BEFORE : 1;
}

static inline uint32_t entry_sizes(const struct entry *entry)
{
    return (entry->value_size & ((1U << ENTRY_VALUE_BITS) - 1)) |
           (entry->key_size & ((1U << ENTRY_KEY_BITS) - 1)) << ENTRY_VALUE_BITS |
           (uint32_t)entry->kind << (ENTRY_VALUE_BITS + ENTRY_KEY_BITS);
}

// Fills the 12 or 20 bytes before the key; entry->head says which.
static inline void entry_encode(const struct entry *entry, uint64_t base_ms, uint8_t *head)
{
    bool extended = entry->head == ENTRY_HEAD_EXTENDED;
    uint64_t low_mask = (1ULL << ENTRY_EXPIRY_BITS) - 1;
    uint64_t expiry = extended ? entry->expires_ms & low_mask : entry->expires_ms - base_ms;
    uint64_t first = entry->stamp | expiry << 32 | (extended ? ENTRY_EXTENDED : 0);
    uint32_t sizes = entry_sizes(entry);
    memcpy(head, &first, 8);
    if (extended) {
        uint64_t extension = (uint64_t)entry->scope_size |
                             (uint64_t)(entry->key_size >> ENTRY_KEY_BITS) << 8 |
                             (uint64_t)(entry->value_size >> ENTRY_VALUE_BITS) << 16 |
                             entry->expires_ms >> ENTRY_EXPIRY_BITS << 24;
        memcpy(head + 8, &extension, 8);
    }
    memcpy(head + entry->head - 4, &sizes, 4);
}

static inline bool entry_is_extended(uint64_t first)
{
    return (int64_t)first < 0;
}

static inline void entry_decode_plain(struct entry *entry, uint64_t first, uint32_t sizes,
                                      uint64_t base_ms)
{
    entry->expires_ms = base_ms + (first >> 32);
    entry->stamp = (uint32_t)first;
    entry->key_size = (sizes >> ENTRY_VALUE_BITS) & ((1U << ENTRY_KEY_BITS) - 1);
    entry->scope_size = 0;
    entry->value_size = sizes & ((1U << ENTRY_VALUE_BITS) - 1);
    entry->head = ENTRY_HEAD;
    entry->kind = (uint8_t)(sizes >> (ENTRY_VALUE_BITS + ENTRY_KEY_BITS)) & 3;
}

// Decodes the entry at `at`. A reader that races gets nonsense of bounded size, and finds out when
// it validates.
static inline void entry_decode(struct entry *entry, const word *at, uint64_t base_ms)
{
    uint64_t first = word_load(at);
    if (!entry_is_extended(first)) {
        entry_decode_plain(entry, first, (uint32_t)word_load(at + 1), base_ms);
        return;
    }
    uint64_t extension = word_load(at + 1);
    uint64_t expiry = (first & ~ENTRY_EXTENDED) >> 32;
    entry_decode_plain(entry, first, (uint32_t)word_load(at + 2), 0);
    entry->expires_ms = (extension >> 24 << ENTRY_EXPIRY_BITS) | expiry;
    entry->scope_size = (uint8_t)extension;
    entry->key_size |= (uint32_t)(uint8_t)(extension >> 8) << ENTRY_KEY_BITS;
    entry->value_size |= (uint32_t)(uint8_t)(extension >> 16) << ENTRY_VALUE_BITS;
    entry->head = ENTRY_HEAD_EXTENDED;
}
