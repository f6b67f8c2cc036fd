// Writing RESP: headers, bulks, numbers and the lines of protocol errors.
#include "wire/resp.h"
#include <stdio.h>

size_t resp_put_i64(uint8_t *out, int64_t value)
{
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    uint8_t digits[20];
    size_t count = 0;
    do {
        digits[count++] = (uint8_t)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);

    size_t size = 0;
    if (value < 0)
        out[size++] = '-';
    while (count > 0)
        out[size++] = digits[--count];
    return size;
}

size_t resp_put_header(uint8_t *out, char type, int64_t value)
{
    out[0] = (uint8_t)type;
    size_t size = 1 + resp_put_i64(out + 1, value);
    out[size++] = '\r';
    out[size++] = '\n';
    return size;
}

size_t resp_put_bulk(uint8_t *out, struct slice bytes)
{
    size_t size = resp_put_header(out, '$', (int64_t)bytes.size);
    if (bytes.size > 0)
        memcpy(out + size, bytes.data, bytes.size);
    size += bytes.size;
    out[size++] = '\r';
    out[size++] = '\n';
    return size;
}

static const char *error_words(int error)
{
    switch (error) {
    case RESP_ERR_MULTIBULK_LENGTH:
        return "invalid multibulk length";
    case RESP_ERR_BULK_LENGTH:
        return "invalid bulk length";
    case RESP_ERR_BIG_INLINE:
        return "too big inline request";
    case RESP_ERR_BIG_COUNT:
        return "too big mbulk count string";
    case RESP_ERR_BIG_BULK_COUNT:
        return "too big bulk count string";
    case RESP_ERR_UNBALANCED:
        return "unbalanced quotes in request";
    case RESP_ERR_UNAUTH_MULTIBULK:
        return "unauthenticated multibulk length";
    case RESP_ERR_UNAUTH_BULK:
        return "unauthenticated bulk length";
    default:
        return "malformed bytes";
    }
}

// Redis shows the offending byte as it is, but never lets a line end into an error line.
size_t resp_error_line(int error, uint8_t got, char *out, size_t room)
{
    char line[128];
    int size;
    if (error == RESP_ERR_EXPECTED_BULK) {
        char shown = got == '\r' || got == '\n' ? ' ' : (char)got;
        size =
            snprintf(line, sizeof line, "-ERR Protocol error: expected '$', got '%c'\r\n", shown);
    } else {
        size = snprintf(line, sizeof line, "-ERR Protocol error: %s\r\n", error_words(error));
    }
    size_t used = (size_t)size < room ? (size_t)size : room;
    memcpy(out, line, used);
    return used;
}
