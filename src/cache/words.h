#pragma once
// The log's memory as 64-bit words, read by threads that race with its writers. Every access is a
// relaxed atomic on an aligned word, so a race yields a wrong value, never undefined behaviour;
// the reader's validation afterwards throws wrong values away. Private memory (the caller's) is
// accessed unaligned through memcpy.
#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "byte k of a word is its bits 8k..8k+7");

typedef _Atomic uint64_t word;

#define HOT_INLINE static inline __attribute__((always_inline))

static inline uint64_t word_load(const word *at)
{
    return atomic_load_explicit(at, memory_order_relaxed);
}

static inline void word_store(word *at, uint64_t value)
{
    atomic_store_explicit(at, value, memory_order_relaxed);
}

// The compiler knows no fences under TSan and says so; the accesses they order are all atomic, so
// TSan needs to know nothing about them.
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
static inline void fence_acquire(void)
{
    atomic_thread_fence(memory_order_acquire);
}
static inline void fence_release(void)
{
    atomic_thread_fence(memory_order_release);
}
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

static inline uint64_t load64(const uint8_t *from)
{
    uint64_t value;
    memcpy(&value, from, 8);
    return value;
}

static inline uint32_t load32(const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, 4);
    return value;
}

// The `count` < 8 bytes at `from`, the rest of the word zero.
static inline uint64_t load_tail(const uint8_t *from, size_t count)
{
    uint64_t value = 0;
    if (count & 4)
        value = load32(from);
    for (size_t i = count & 4; i < count; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

// Writes the low `count` < 8 bytes of `value`.
static inline void store_tail(uint8_t *to, uint64_t value, size_t count)
{
    if (count & 4) {
        memcpy(to, &value, 4);
        to += 4;
        value >>= 32;
    }
    if (count & 2) {
        memcpy(to, &value, 2);
        to += 2;
        value >>= 16;
    }
    if (count & 1)
        *to = (uint8_t)value;
}

// Less than eight bytes that need not end a word, for words_read.
static __attribute__((noinline, unused)) void words_read_few(uint8_t *to, const word *from,
                                                              size_t skip, size_t count)
{
    size_t part = count < 8 - skip ? count : 8 - skip;
    store_tail(to, word_load(from) >> (8 * skip), part);
    if (count > part)
        store_tail(to + part, word_load(from + 1), count - part);
}

// Copies `count` bytes out of the words at `from`, beginning at byte `skip` < 8 of the first.
static __attribute__((noinline, unused)) void words_read(uint8_t *to, const word *from,
                                                          size_t skip, size_t count)
{
    if (__builtin_expect(count < 8, 0)) {
        words_read_few(to, from, skip, count);
        return;
    }
    if (skip != 0) { // the bytes written past the word's end are overwritten below
        uint64_t first = word_load(from++) >> (8 * skip);
        memcpy(to, &first, 8);
        to += 8 - skip;
        count -= 8 - skip;
    }
    for (; count >= 32; count -= 32, to += 32, from += 4) {
        uint64_t a = word_load(from), b = word_load(from + 1);
        uint64_t c = word_load(from + 2), d = word_load(from + 3);
        memcpy(to, &a, 8);
        memcpy(to + 8, &b, 8);
        memcpy(to + 16, &c, 8);
        memcpy(to + 24, &d, 8);
    }
    if (count & 16) {
        uint64_t a = word_load(from), b = word_load(from + 1);
        memcpy(to, &a, 8);
        memcpy(to + 8, &b, 8);
        to += 16;
        from += 2;
    }
    if (count & 8) {
        uint64_t a = word_load(from++);
        memcpy(to, &a, 8);
        to += 8;
    }
    size_t rest = count & 7;
    if (rest != 0) { // the last eight bytes, of which some are there already
        uint64_t last = word_load(from - 1) >> (8 * rest) | word_load(from) << (64 - 8 * rest);
        memcpy(to + rest - 8, &last, 8);
    }
}

// Copies `count` bytes to the words at `to`, from their first byte on; the last word is filled up
// with zeros.
static inline void words_write(word *to, const uint8_t *from, size_t count)
{
    for (; count >= 8; count -= 8, from += 8)
        word_store(to++, load64(from));
    if (count != 0)
        word_store(to, load_tail(from, count));
}

static inline void words_copy(word *to, const word *from, size_t words)
{
    for (size_t i = 0; i < words; i++)
        word_store(to + i, word_load(from + i));
}

// For words_equal_key, with less than eight bytes.
static __attribute__((noinline, unused)) bool words_equal_few(uint64_t first, const word *next,
                                                              const uint8_t *bytes, size_t count)
{
    uint64_t theirs = count > 4 ? word_load(next) << 32 | first : first;
    return count == 0 || (theirs ^ load_tail(bytes, count)) << (64 - 8 * count) == 0;
}

// words_equal for the common place of a key: `upper` is the word whose upper half begins it.
HOT_INLINE bool words_equal_key(uint64_t upper, const word *next, const uint8_t *bytes,
                                size_t count)
{
    if (__builtin_expect(count < 8, 0))
        return words_equal_few(upper >> 32, next, bytes, count);
    if ((upper >> 32) != load32(bytes))
        return false;
    size_t at = 4;
    for (; at + 8 <= count; at += 8)
        if (word_load(next++) != load64(bytes + at))
            return false;
    if (at == count)
        return true;
    size_t drop = 64 - 8 * (count - at);
    return (word_load(next) << drop ^ load64(bytes + count - 8)) >> drop == 0;
}

// Are the bytes from byte `skip` < 8 of the words at `at` those of `bytes`?
HOT_INLINE bool words_equal(const word *at, size_t skip, const uint8_t *bytes, size_t count)
{
    if (count == 0)
        return true;
    const bool long_enough = count >= 8;
    if (skip != 0) {
        size_t held = 8 - skip, part = count < held ? count : held;
        uint64_t theirs = word_load(at++) >> (8 * skip);
        uint64_t ours = part == 4 ? load32(bytes) : load_tail(bytes, part);
        if ((theirs ^ ours) << (64 - 8 * part) != 0)
            return false;
        bytes += part;
        count -= part;
    }
    for (; count >= 8; count -= 8, bytes += 8)
        if (word_load(at++) != load64(bytes))
            return false;
    if (count == 0)
        return true;
    // The last bytes: with those before them they fill a word.
    size_t drop = 64 - 8 * count;
    uint64_t ours = long_enough ? load64(bytes + count - 8) : load_tail(bytes, count) << drop;
    return (word_load(at) << drop ^ ours) >> drop == 0;
}
