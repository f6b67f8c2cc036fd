// Requests: RESP arrays of bulks and inline lines.
//
//     *2\r\n  $3\r\n GET \r\n  $5\r\n key:1 \r\n      parse_count, then parse_argument for each
//     get key:1\r\n                                   parse_inline finds the line's end;
//                                                     resp_inline_split makes the array of it
//
// Invariants:
// - Every verdict is that of Redis 7.0 for the same bytes, and does not depend on how they were
//   cut into reads. (Redis looks for a header's end in all it has read so far; here it must come
//   within LIMIT_INLINE_BYTES, whatever else has been read.)
// - As in Redis a header's end is '\r' and any byte, and a bulk is followed by any two bytes. A NUL
//   before the end of a header hides it. So a frame means the same to weir and to the store.
// - `need` never passes the point where an error could be seen.
//
// Rejected: resuming inside a request (state that costs every request to speed up the rare split
// one; large requests go through resp_scan instead), SIMD digit parsing (headers have 1-2 digits).
#include "wire/number.h"
#include "wire/resp.h"

enum {
    HEADER_MAX = LIMIT_INLINE_BYTES + 1, // a header's end must be seen within these
    HEADER_MIN = 2,                      // "\r\n" is the least that can be judged
};

// ---- headers -----------------------------------------------------------------------------------
// The place of `wanted` in at[0, size), or -1; bytes behind a NUL are not seen.
static long find_end(const uint8_t *at, size_t size, int wanted)
{
    size_t window = size < HEADER_MAX ? size : HEADER_MAX;
    const uint8_t *found = memchr(at, wanted, window);
    if (found == NULL)
        return -1;
    if (memchr(at, '\0', (size_t)(found - at)) != NULL)
        return -1;
    return found - at;
}

// What more is needed to judge a header of which `size` bytes are there, none of them its end.
static size_t header_need(const uint8_t *at, size_t size)
{
    if (size > 0 && memchr(at, '\0', size) != NULL)
        return HEADER_MAX;
    return size + HEADER_MIN;
}

struct header {
    int64_t value;
    size_t size; // bytes of the header, its end included
    bool number; // it was one
};

// The slow path of headers. Returns > 0, or 0 with *need relative to `at`, or `too_big`.
static int parse_header(struct header *out, const uint8_t *at, size_t size, int too_big,
                        size_t *need)
{
    long line = size > 0 ? find_end(at, size, '\r') : -1;
    if (line < 0) {
        if (size > LIMIT_INLINE_BYTES)
            return too_big;
        *need = header_need(at, size);
        return 0;
    }
    if ((size_t)line + 2 > size) {
        *need = (size_t)line + 2;
        return 0;
    }
    out->size = (size_t)line + 2;
    out->number = line > 0 && number_parse(at + 1, (size_t)line - 1, &out->value);
    return 1;
}

static int judge_count(const struct header *header, const struct resp_bounds *bounds)
{
    if (!header->number || header->value > INT32_MAX)
        return RESP_ERR_MULTIBULK_LENGTH;
    if (header->value > bounds->max_args)
        return bounds->authenticated ? RESP_ERR_MULTIBULK_LENGTH : RESP_ERR_UNAUTH_MULTIBULK;
    return 1;
}

static int judge_bulk(const struct header *header, const struct resp_bounds *bounds)
{
    if (!header->number || header->value < 0 || header->value > LIMIT_BULK_BYTES)
        return RESP_ERR_BULK_LENGTH;
    if (header->value > bounds->max_bulk)
        return bounds->authenticated ? RESP_ERR_BULK_LENGTH : RESP_ERR_UNAUTH_BULK;
    return 1;
}

// ---- a RESP array ------------------------------------------------------------------------------
static int slow_argument_header(struct header *header, const uint8_t *at, size_t size,
                                const struct resp_bounds *bounds, uint8_t *got, size_t *need)
{
    int verdict = parse_header(header, at, size, RESP_ERR_BIG_BULK_COUNT, need);
    if (verdict <= 0)
        return verdict;
    if (*at != '$') {
        *got = *at;
        return RESP_ERR_EXPECTED_BULK;
    }
    return judge_bulk(header, bounds);
}

// One bulk at bytes[at]. Returns the place behind it, 0 with *need, or < 0.
static inline long parse_argument(struct slice *arg, struct slice bytes, size_t at,
                                  const struct resp_bounds *bounds, uint8_t *got, size_t *need)
{
    const uint8_t *data = bytes.data + at, *end = bytes.data + bytes.size;
    int64_t length = 0;
    const uint8_t *stop = data < end && *data == '$' ? number_short(data + 1, end, &length) : NULL;
    size_t head;
    if (__builtin_expect(stop != NULL && length <= bounds->max_bulk, 1)) {
        head = (size_t)(stop + 2 - data);
    } else {
        struct header header = {0};
        int verdict = slow_argument_header(&header, data, bytes.size - at, bounds, got, need);
        if (verdict < 0)
            return verdict;
        if (verdict == 0) {
            *need += at;
            return 0;
        }
        length = header.value;
        head = header.size;
    }
    size_t next = at + head + (size_t)length + 2;
    if (next > bytes.size) {
        *need = next;
        return 0;
    }
    *arg = (struct slice){data + head, (size_t)length};
    return (long)next;
}

static long parse_count(int64_t *count, struct slice bytes, const struct resp_bounds *bounds,
                        size_t *need)
{
    const uint8_t *stop = number_short(bytes.data + 1, bytes.data + bytes.size, count);
    if (__builtin_expect(stop != NULL && *count <= bounds->max_args, 1))
        return stop + 2 - bytes.data;
    struct header header = {0};
    int verdict = parse_header(&header, bytes.data, bytes.size, RESP_ERR_BIG_COUNT, need);
    if (verdict > 0)
        verdict = judge_count(&header, bounds);
    if (verdict <= 0)
        return verdict;
    *count = header.value;
    return (long)header.size;
}

static long parse_array(struct resp_request *out, struct slice bytes,
                        const struct resp_bounds *bounds, size_t *need)
{
    int64_t count = 0;
    long at = parse_count(&count, bytes, bounds, need);
    if (at <= 0)
        return at;
    if (count < 0)
        count = 0;

    struct slice beyond;
    for (int64_t i = 0; i < count; i++) {
        uint8_t got = 0;
        struct slice *arg = i < RESP_ARGS ? &out->argv[i] : &beyond;
        at = parse_argument(arg, bytes, (size_t)at, bounds, &got, need);
        if (__builtin_expect(at <= 0, 0)) {
            if (at == RESP_ERR_EXPECTED_BULK)
                out->got = got;
            return at;
        }
    }
    out->frame = (struct slice){bytes.data, (size_t)at};
    out->argc = (uint32_t)count;
    out->is_inline = false;
    return at;
}

// ---- an inline line ----------------------------------------------------------------------------
static long parse_inline(struct resp_request *out, struct slice bytes, size_t *need)
{
    long line = find_end(bytes.data, bytes.size, '\n');
    if (line < 0) {
        if (bytes.size > LIMIT_INLINE_BYTES)
            return RESP_ERR_BIG_INLINE;
        *need = memchr(bytes.data, '\0', bytes.size) != NULL ? HEADER_MAX : bytes.size + 1;
        return 0;
    }
    out->frame = (struct slice){bytes.data, (size_t)line + 1};
    out->argc = 0;
    out->is_inline = true;
    return line + 1;
}

long resp_request_parse(struct resp_request *out, struct slice bytes,
                        const struct resp_bounds *bounds, size_t *need)
{
    if (bytes.size == 0) {
        *need = 1;
        return 0;
    }
    if (bytes.data[0] == '*')
        return parse_array(out, bytes, bounds, need);
    return parse_inline(out, bytes, need);
}

bool resp_arg_next(struct slice frame, size_t *cursor, struct slice *arg)
{
    const uint8_t *end = frame.data + frame.size;
    const uint8_t *at = frame.data + *cursor;
    if (*cursor == 0) {
        at = memchr(frame.data, '\r', frame.size);
        if (at == NULL || end - at < HEADER_MIN)
            return false;
        at += 2;
    }
    if (end - at < HEADER_MIN)
        return false;
    int64_t length = 0;
    const uint8_t *stop = number_short(at + 1, end, &length);
    if (stop == NULL || end - stop < length + 4)
        return false;
    *arg = (struct slice){stop + 2, (size_t)length};
    *cursor = (size_t)(stop + 2 - frame.data) + (size_t)length + 2;
    return true;
}
