#pragma once
// Borrowed bytes: a pointer and a length. A slice never owns what it points to.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t size;
};

#define SLICE(literal) ((struct slice){(const uint8_t *)(literal), sizeof(literal) - 1})

static inline struct slice slice_of(const void *data, size_t size)
{
    return (struct slice){data, size};
}

static inline struct slice slice_str(const char *text)
{
    return (struct slice){(const uint8_t *)text, strlen(text)};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

// ASCII case folded comparison, as Redis compares command names and options.
bool slice_equal_nocase(struct slice a, struct slice b);

static inline bool slice_is(struct slice a, const char *word)
{
    return slice_equal_nocase(a, slice_str(word));
}

static inline bool slice_starts(struct slice a, struct slice prefix)
{
    return a.size >= prefix.size && (prefix.size == 0 || memcmp(a.data, prefix.data, prefix.size) == 0);
}

// Strict decimal: optional '-', digits, nothing else. Returns 0, or WEIR_EMALFORMED / WEIR_ERANGE
// and leaves *out alone.
int slice_to_i64(struct slice text, int64_t *out);
