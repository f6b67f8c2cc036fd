// RESP3 replies as a RESP2 client would have had them.
//
//     %1 $1 a ,1.5          ->  *2 $1 a $3 1.5           types map one by one, whatever the depth
//     *2 *2 $1 a ,1 …       ->  *4 $1 a $1 1 …           FLAT_PAIRS
//     %1 $1 s *1 …          ->  *1 *2 $1 s *1 …          MAP_PAIRS
//     *4 :0 _ _ _           ->  *4 :0 $-1 $-1 *-1        PENDING
//
// Headers are rewritten as they come, so nesting needs no stack; attributes, and pushes inside a
// frame, are left out. What stays as it is goes out in runs: a hash of a hundred fields is one new
// header and one copy.
//
// Room: no element grows past twice its size plus the header of the top.
//   ",5\r\n" (4 bytes) -> "$1\r\n5\r\n" (7), ",\r\n" (3) -> "$0\r\n\r\n" (6), for n bytes of text
//   n + 3 -> n + 5 + digits(n);  "_\r\n" (3) -> "$-1\r\n" (5);  "%5\r\n" (4) -> "*10\r\n" (5);
//   bulks, texts, integers keep their size, verbatims and pairs shrink. A pair of MAP_PAIRS gains
//   "*2\r\n" (4) beside a key of at least "$0\r\n\r\n" (6), which keeps its own size.
#include "wire/element.h"

struct rewrite {
    struct slice in;
    size_t at;   // read up to here
    size_t kept; // in[kept, at) goes out unchanged, and has not been copied yet
    uint8_t *out;
    size_t size, room;
    bool null_array; // nulls are "*-1"
};

static bool put(struct rewrite *r, const void *bytes, size_t size)
{
    if (size > r->room - r->size)
        return false;
    if (size > 0)
        memcpy(r->out + r->size, bytes, size);
    r->size += size;
    return true;
}

static bool flush(struct rewrite *r)
{
    size_t kept = r->kept;
    r->kept = r->at;
    return r->at == kept || put(r, r->in.data + kept, r->at - kept);
}

// Passes `size` bytes of the reply that something else takes the place of.
static bool replace(struct rewrite *r, size_t size)
{
    if (!flush(r))
        return false;
    r->at += size;
    r->kept = r->at;
    return true;
}

static bool put_header(struct rewrite *r, char type, int64_t value)
{
    uint8_t header[RESP_HEAD_ROOM];
    return put(r, header, resp_put_header(header, type, value));
}

static bool put_bulk(struct rewrite *r, struct slice text)
{
    return put_header(r, '$', (int64_t)text.size) && put(r, text.data, text.size) &&
           put(r, "\r\n", 2);
}

static bool put_blob_error(struct rewrite *r, struct slice text)
{
    if (!put(r, "-", 1) || !put(r, text.data, text.size))
        return false;
    for (size_t i = r->size - text.size; i < r->size; i++)
        if (r->out[i] == '\r' || r->out[i] == '\n')
            r->out[i] = ' ';
    return put(r, "\r\n", 2);
}

static struct slice rest(const struct rewrite *r)
{
    return slice_of(r->in.data + r->at, r->in.size - r->at);
}

static bool rewrite_line(struct rewrite *r, const struct resp_element *element, size_t head)
{
    if (!element->resp3) {
        r->at += head;
        return true;
    }
    const uint8_t *line = r->in.data + r->at;
    if (!replace(r, head))
        return false;
    if (element->type == '#')
        return put(r, line[1] == 't' ? ":1\r\n" : ":0\r\n", 4);
    return put_bulk(r, slice_of(line + 1, head - 3));
}

static bool rewrite_bulk(struct rewrite *r, const struct resp_element *element, size_t head)
{
    struct slice bytes = rest(r);
    if (bytes.size - head < (size_t)element->value + 2)
        return false;
    size_t whole = head + (size_t)element->value + 2;
    struct slice text = slice_of(bytes.data + head, (size_t)element->value);
    if (element->type == '$') {
        r->at += whole;
        return true;
    }
    if (!replace(r, whole))
        return false;
    if (element->type == '!')
        return put_blob_error(r, text);
    size_t prefix = text.size >= 4 ? 4 : 0; // "txt:"
    return put_bulk(r, slice_of(text.data + prefix, text.size - prefix));
}

static bool rewrite_null(struct rewrite *r, const struct resp_element *element, size_t head)
{
    if (element->type != '_') {
        r->at += head;
        return true;
    }
    return replace(r, head) && put(r, r->null_array ? "*-1\r\n" : "$-1\r\n", 5);
}

static bool rewrite_header(struct rewrite *r, const struct resp_element *element, size_t head)
{
    if (element->type != '*')
        return replace(r, head) && put_header(r, '*', element->value);
    r->at += head;
    return true;
}

// Leaves out a header and its `count` elements; pushes among them are none of them.
static bool skip_elements(struct rewrite *r, size_t head, uint64_t count)
{
    bool resp3;
    if (!replace(r, head))
        return false;
    while (count > 0) {
        long size = resp_reply_length(rest(r), &resp3);
        if (size <= 0)
            return false;
        count -= r->in.data[r->at] != '>';
        if (!replace(r, (size_t)size))
            return false;
    }
    return true;
}

// A whole bulk at the front, or 0: most of what there is, told without taking it apart.
static inline size_t plain_bulk(struct slice bytes)
{
    int64_t length = 0;
    if (bytes.size < 6 || bytes.data[0] != '$')
        return 0;
    const uint8_t *end = bytes.data + bytes.size;
    const uint8_t *stop = number_short(bytes.data + 1, end, &length);
    if (stop == NULL || end - stop < length + 4)
        return 0;
    return (size_t)(stop - bytes.data) + (size_t)length + 4;
}

// Rewrites the next `left` elements with all they contain.
static bool rewrite_elements(struct rewrite *r, uint64_t left, bool top)
{
    for (; left > 0; left--) {
        struct resp_element element;
        size_t bulk = plain_bulk(rest(r));
        if (bulk > 0) {
            r->at += bulk;
            continue;
        }
        long head = resp_element_parse(&element, rest(r));
        if (head <= 0)
            return false;
        bool good = true, out_of_band = element.type == '>' && !top;
        switch (element.kind) {
        case KIND_LINE:
            good = rewrite_line(r, &element, (size_t)head);
            break;
        case KIND_BULK:
            good = rewrite_bulk(r, &element, (size_t)head);
            break;
        case KIND_NULL:
            good = rewrite_null(r, &element, (size_t)head);
            break;
        case KIND_AGGREGATE:
        case KIND_ATTRIBUTE:
            if (element.kind == KIND_ATTRIBUTE || out_of_band) {
                good = skip_elements(r, (size_t)head, (uint64_t)element.value);
                left += 1;
            } else {
                good = rewrite_header(r, &element, (size_t)head);
                left += (uint64_t)element.value;
            }
            top = false;
        }
        if (!good || left >> 62 != 0)
            return false;
    }
    return true;
}

// An array of pairs, when the reply is one; *done tells.
static bool rewrite_flat(struct rewrite *r, bool *done)
{
    struct resp_element top, pair;
    long head = resp_element_parse(&top, rest(r));
    *done = false;
    if (head <= 0 || top.type != '*' || top.kind != KIND_AGGREGATE || top.value == 0)
        return true;
    struct slice inside = slice_of(r->in.data + head, r->in.size - (size_t)head);
    if (resp_element_parse(&pair, inside) <= 0 || pair.kind != KIND_AGGREGATE)
        return true;
    *done = true;
    if (!replace(r, (size_t)head) || !put_header(r, '*', top.value * 2))
        return false;
    for (int64_t i = 0; i < top.value; i++) {
        head = resp_element_parse(&pair, rest(r));
        if (head <= 0 || pair.type != '*' || pair.announced != 2)
            return false;
        if (!replace(r, (size_t)head) || !rewrite_elements(r, 2, false))
            return false;
    }
    return true;
}

static bool rewrite_map_pairs(struct rewrite *r, bool *done)
{
    struct resp_element top, key;
    long head = resp_element_parse(&top, rest(r));
    *done = false;
    if (head <= 0 || top.type != '%')
        return true;
    *done = true;
    if (!replace(r, (size_t)head) || !put_header(r, '*', top.announced))
        return false;
    for (int64_t i = 0; i < top.announced; i++) {
        if (resp_element_parse(&key, rest(r)) <= 0 || key.type != '$' || key.kind != KIND_BULK)
            return false;
        if (!flush(r) || !put_header(r, '*', 2) || !rewrite_elements(r, 2, false))
            return false;
    }
    return true;
}

static bool rewrite_pending(struct rewrite *r, bool *done)
{
    struct resp_element top;
    long head = resp_element_parse(&top, rest(r));
    *done = head > 0 && top.type == '*' && top.kind == KIND_AGGREGATE && top.value > 0;
    if (!*done)
        return true;
    r->at += (size_t)head;
    if (!rewrite_elements(r, (uint64_t)top.value - 1, false))
        return false;
    r->null_array = true;
    return rewrite_elements(r, 1, false);
}

long resp_to_resp2(struct slice frame, enum resp2_shape shape, uint8_t *out, size_t room)
{
    if (frame.size == 0)
        return RESP_ERR_REPLY;
    struct rewrite r = {.in = frame, .out = out, .room = room};
    r.null_array = shape == RESP2_NULL_ARRAY || shape == RESP2_MAP_PAIRS;
    bool good = true, done = false;
    if (shape == RESP2_FLAT_PAIRS)
        good = rewrite_flat(&r, &done);
    else if (shape == RESP2_MAP_PAIRS)
        good = rewrite_map_pairs(&r, &done);
    else if (shape == RESP2_PENDING)
        good = rewrite_pending(&r, &done);
    if (good && !done)
        good = rewrite_elements(&r, 1, true);
    return good && r.at == frame.size && flush(&r) ? (long)r.size : RESP_ERR_REPLY;
}
