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
    if (end - at < 4)
        return end - at == 3 && (uint8_t)(*at - '0') <= 9 && at[1] == '\r'
                   ? (*value = *at - '0', at + 1)
                   : NULL;
    unsigned sum = (unsigned)*at - '0';
    if (sum > 9)
        return NULL;
    if (at[1] == '\r') {
        *value = sum;
        return at + 1;
    }
    unsigned digit = (unsigned)at[1] - '0';
    if (digit > 9 || sum == 0)
        return NULL;
    sum = sum * 10 + digit;
    if (at[2] == '\r') {
        *value = sum;
        return at + 2;
    }
    const uint8_t *last = end - at > 11 ? at + 9 : end - 2; // the last place where '\r' may stand
    for (at += 2; at <= last; at++) {
        digit = (unsigned)*at - '0';
        if (digit > 9)
            break;
        sum = sum * 10 + digit;
    }
    if (at > last || *at != '\r')
        return NULL;
    *value = sum;
    return at;
}

// All of the `size` bytes as one number, or false.
bool number_parse(const uint8_t *text, size_t size, int64_t *value);
