#include "wire/number.h"

bool number_parse(const uint8_t *text, size_t size, int64_t *value)
{
    bool negative = size > 0 && text[0] == '-';
    size_t at = negative;
    if (size - at == 0 || size - at > 19)
        return false;
    if (text[at] == '0') {
        if (size != 1)
            return false;
        *value = 0;
        return true;
    }
    uint64_t sum = 0; // 19 digits always fit
    for (; at < size; at++) {
        unsigned digit = (unsigned)text[at] - '0';
        if (digit > 9)
            return false;
        sum = sum * 10 + digit;
    }
    if (sum > (uint64_t)INT64_MAX + negative)
        return false;
    *value = negative ? (int64_t)(0 - sum) : (int64_t)sum;
    return true;
}
