#pragma once
// Naive twins of the codecs of src/wire, for comparison in unit tests and fuzzers: slow, recursive,
// allocating, and written from the grammar rather than from the code they check.
#include "base/slice.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// ---- inline lines ------------------------------------------------------------------------------
// A state machine over one byte at a time, with the grammar of Redis's inline commands:
//   words are separated by isspace; inside a word only ' ' \n \r \t end it; a quote opens anywhere
//   in a word; after its closing quote a blank or the end must follow.
struct twin_words {
    int count; // -1: unbalanced
    uint8_t *text[70000];
    size_t size[70000];
};

static inline int twin_space(int c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\v' || c == '\f';
}

static inline int twin_hex(int c)
{
    const char *digits = "0123456789abcdef", *at;
    if (c >= 'A' && c <= 'F')
        c += 32;
    return c != 0 && (at = strchr(digits, c)) != NULL ? (int)(at - digits) : -1;
}

static inline void twin_free(struct twin_words *words)
{
    for (int i = 0; i < words->count; i++)
        free(words->text[i]);
    words->count = 0;
}

// `line` is NUL-terminated and has no line end. Allocates each word.
static inline void twin_split(struct twin_words *out, const char *line)
{
    enum { OUTSIDE, WORD, DOUBLE, SINGLE, CLOSED } state = OUTSIDE;
    const char *names = "nrtba", *values = "\n\r\t\b\a", *at;
    size_t room = strlen(line) + 1;
    out->count = 0;
    for (size_t i = 0;; i++) {
        int c = (uint8_t)line[i];
        if (state == CLOSED) {
            if (c != 0 && !twin_space(c))
                goto unbalanced;
            state = OUTSIDE;
        }
        if (state == OUTSIDE) {
            if (c == 0)
                return;
            if (twin_space(c))
                continue;
            out->text[out->count] = malloc(room);
            out->size[out->count++] = 0;
            state = WORD;
        }
        uint8_t *text = out->text[out->count - 1];
        size_t *size = &out->size[out->count - 1];
        if (state == WORD) {
            if (c == 0)
                return;
            if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
                state = OUTSIDE;
            else if (c == '"')
                state = DOUBLE;
            else if (c == '\'')
                state = SINGLE;
            else
                text[(*size)++] = (uint8_t)c;
        } else if (c == 0) {
            goto unbalanced;
        } else if (c == (state == DOUBLE ? '"' : '\'')) {
            state = CLOSED;
        } else if (state == SINGLE && c == '\\' && line[i + 1] == '\'') {
            text[(*size)++] = '\'';
            i++;
        } else if (state == DOUBLE && c == '\\' && line[i + 1] != 0) {
            c = (uint8_t)line[++i];
            if (c == 'x' && twin_hex((uint8_t)line[i + 1]) >= 0 &&
                twin_hex((uint8_t)line[i + 2]) >= 0) {
                c = twin_hex((uint8_t)line[i + 1]) * 16 + twin_hex((uint8_t)line[i + 2]);
                i += 2;
            } else if ((at = strchr(names, c)) != NULL) {
                c = values[at - names];
            }
            text[(*size)++] = (uint8_t)c;
        } else {
            text[(*size)++] = (uint8_t)c;
        }
    }
unbalanced:
    twin_free(out);
    out->count = -1;
}

// ---- replies -----------------------------------------------------------------------------------
// Length of the element at `at`, by recursion; 0 incomplete, -1 malformed, -2 too deep for a twin.
// *resp3 and *top_push (an element of type '>' that is not the whole reply) are set on the way.
static inline long twin_line(struct slice bytes)
{
    int text = bytes.size > 0 && memchr("+-,(", bytes.data[0], 4) != NULL;
    for (size_t i = 1; i < bytes.size; i++) {
        if (bytes.data[i] == '\r') {
            if (i + 1 == bytes.size)
                return 0;
            return bytes.data[i + 1] == '\n' ? (long)i + 2 : -1;
        }
        if (!text && i >= 30)
            return -1;
    }
    return 0;
}

static inline int twin_number(const uint8_t *text, size_t size, int64_t *value)
{
    char copy[24], again[24];
    if (size == 0 || size > 20)
        return 0;
    memcpy(copy, text, size);
    copy[size] = 0;
    long long number = strtoll(copy, NULL, 10);
    int printed = 0;
    // the canonical spelling and no other
    unsigned long long rest =
        number < 0 ? 0ull - (unsigned long long)number : (unsigned long long)number;
    char digits[24];
    int n = 0;
    do {
        digits[n++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0)
        again[printed++] = '-';
    while (n > 0)
        again[printed++] = digits[--n];
    again[printed] = 0;
    *value = number;
    return strlen(copy) == size && strcmp(copy, again) == 0;
}

static inline long twin_reply(struct slice bytes, int depth, int inside, int *resp3)
{
    if (bytes.size == 0)
        return 0;
    uint8_t type = bytes.data[0];
    if (depth > 200)
        return -2;
    if (memchr("+-:$*_#,(=!%~>|", type, 15) == NULL) {
        return -1;
    }
    long line = twin_line(bytes);
    if (line <= 0)
        return line;
    const uint8_t *text = bytes.data + 1;
    size_t size = (size_t)line - 3;
    int64_t n = 0;
    if (memchr("+-:$*", type, 5) == NULL)
        *resp3 = 1;
    if (memchr("+-,(", type, 4) != NULL)
        return line;
    if (type == '_')
        return size == 0 ? line : -1;
    if (type == '#')
        return size == 1 && (*text == 't' || *text == 'f') ? line : -1;
    if (!twin_number(text, size, &n))
        return -1;
    if (type == ':' || (n == -1 && (type == '$' || type == '*')))
        return line;
    if (n < 0 || n >> 40 != 0)
        return -1;
    if (type == '%' || type == '|')
        n *= 2;
    if (memchr("$=!", type, 3) != NULL) {
        size_t have = bytes.size - (size_t)line;
        if (have > (uint64_t)n && bytes.data[(size_t)line + (size_t)n] != '\r')
            return -1;
        if (have > (uint64_t)n + 1 && bytes.data[(size_t)line + (size_t)n + 1] != '\n')
            return -1;
        return have >= (uint64_t)n + 2 ? line + (long)n + 2 : 0;
    }
    (void)inside;
    size_t at = (size_t)line;
    int64_t wanted = type == '|' ? n + 1 : n; // and what it decorates
    while (wanted > 0) {
        struct slice rest = slice_of(bytes.data + at, bytes.size - at);
        long one = twin_reply(rest, depth + 1, 1, resp3);
        if (one <= 0)
            return one;
        wanted -= rest.data[0] != '>'; // a push inside is out of band
        at += (size_t)one;
    }
    return (long)at;
}
