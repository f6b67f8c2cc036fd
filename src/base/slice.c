#include "base/slice.h"
#include "base/err.h"

static uint8_t fold(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

bool slice_equal_nocase(struct slice a, struct slice b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++)
        if (fold(a.data[i]) != fold(b.data[i]))
            return false;
    return true;
}

int slice_to_i64(struct slice text, int64_t *out)
{
    size_t i = 0;
    bool negative = text.size > 0 && text.data[0] == '-';
    if (negative)
        i++;
    if (i == text.size)
        return WEIR_EMALFORMED;
    uint64_t value = 0;
    bool overflow = false;
    for (; i < text.size; i++) {
        uint8_t digit = (uint8_t)(text.data[i] - '0');
        if (digit > 9)
            return WEIR_EMALFORMED;
        overflow |= __builtin_mul_overflow(value, (uint64_t)10, &value);
        overflow |= __builtin_add_overflow(value, (uint64_t)digit, &value);
    }
    if (overflow || value > (uint64_t)INT64_MAX + negative)
        return WEIR_ERANGE;
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return 0;
}
