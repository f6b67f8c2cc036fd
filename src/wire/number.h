#pragma once
// Decimal numbers as Redis writes and accepts them: an optional '-', no '+', no leading zeros.
// Internal to wire/.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Digits up to a '\r' that has one more byte behind it, at most nine of them and no sign: what all
// but hostile headers look like. Returns the '\r', or NULL for anything else, incomplete headers
// included (the caller then takes its slow path).
static inline const uint8_t *number_short(const uint8_t *at, const uint8_t *end, int64_t *value)
{
    if (end - at < 3)
        return NULL;
    unsigned digit = (unsigned)*at - '0';
    if (digit > 9)
        return NULL;
    unsigned sum = digit;
    const uint8_t *start = at;
    const uint8_t *last = end - at > 11 ? at + 9 : end - 2; // the last place where '\r' may stand
    while (++at <= last) {
        digit = (unsigned)*at - '0';
        if (digit > 9)
            break;
        sum = sum * 10 + digit;
    }
    if (at > last || *at != '\r' || (*start == '0' && at - start > 1))
        return NULL;
    *value = sum;
    return at;
}

// All of the `size` bytes as one number, or false.
bool number_parse(const uint8_t *text, size_t size, int64_t *value);
