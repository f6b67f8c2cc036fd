// Where does a reply end? Found without building values, without memory and without looking back.
//
//     *2\r\n $5\r\n hello\r\n *1\r\n :7\r\n
//     └─ elements_left: 1 -> 2 ──── 1 ─ 1 ── 0: done          each header adds what it announces
//             └─ payload_left: 7 -> 0                         and takes away itself
//
// Nesting needs no stack: only the number of elements still to come matters. A header that the end
// of a portion cuts is gathered in `line`; a line of text is passed over, and of it only the type
// and whether a '\r' came last are kept there.
//
// Invariants: bytes consumed never pass the end of the frame; counts stay below 2^40 each and
// elements_left below 2^63, so nothing wraps.
// Rejected: recursion (depth chosen by the peer), a table-driven byte automaton (half the speed of
// memchr on lines, and payloads need skipping anyhow).
#include "wire/element.h"
#include <assert.h>

enum { TEXT_SEEN = 1, TEXT_CR = 2 }; // line_size while a text line is under way
// A header that is not text must end within so many bytes; the longest that is right has 23.
enum { NUMBER_LINE_MAX = 32 };
static_assert(NUMBER_LINE_MAX <= sizeof((struct resp_scan){0}.line), "a cut header must fit");

static bool is_type(uint8_t byte)
{
    return byte != 0 && strchr("+-:$*_,#(=!%~>|", byte) != NULL;
}

static bool judge_sized(struct resp_element *out, const uint8_t *line, size_t size)
{
    int64_t value = 0;
    if (!number_parse(line + 1, size - 1, &value))
        return false;
    out->announced = value;
    out->value = value;
    if (value == -1 && (out->type == '$' || out->type == '*')) {
        out->kind = KIND_NULL;
        return true;
    }
    if (value < 0 || value >> RESP_SIZE_BITS != 0)
        return false;
    if (out->type == '%' || out->type == '|')
        out->value = value * 2;
    return true;
}

bool resp_element_judge(struct resp_element *out, const uint8_t *line, size_t size)
{
    int64_t value = 0;
    *out = (struct resp_element){.type = line[0], .kind = KIND_LINE, .resp3 = true};
    switch (line[0]) {
    case '+':
    case '-':
        out->resp3 = false;
        return true;
    case ',':
    case '(':
        return true;
    case ':':
        out->resp3 = false;
        return number_parse(line + 1, size - 1, &value);
    case '#':
        return size == 2 && (line[1] == 't' || line[1] == 'f');
    case '_':
        out->kind = KIND_NULL;
        return size == 1;
    case '$':
        out->resp3 = false;
        out->kind = KIND_BULK;
        return judge_sized(out, line, size);
    case '*':
        out->resp3 = false;
        out->kind = KIND_AGGREGATE;
        return judge_sized(out, line, size);
    case '=':
    case '!':
        out->kind = KIND_BULK;
        return judge_sized(out, line, size);
    case '~':
    case '>':
    case '%':
        out->kind = KIND_AGGREGATE;
        return judge_sized(out, line, size);
    case '|':
        out->kind = KIND_ATTRIBUTE;
        return judge_sized(out, line, size);
    default:
        return false;
    }
}

// The first '\r'; headers that are not text are too short for memchr to pay.
static inline const uint8_t *find_end(const uint8_t *at, size_t window, bool text)
{
    if (text)
        return memchr(at, '\r', window);
    for (const uint8_t *end = at + window; at < end; at++)
        if (*at == '\r')
            return at;
    return NULL;
}

// Bytes up to and with the CRLF, 0 when it isn't there yet, or RESP_ERR_REPLY.
static long line_size(struct slice bytes)
{
    bool text = resp_is_text_line(bytes.data[0]);
    size_t window = text || bytes.size < NUMBER_LINE_MAX ? bytes.size : NUMBER_LINE_MAX - 1;
    const uint8_t *stop = find_end(bytes.data, window, text);
    if (stop == NULL)
        return is_type(bytes.data[0]) && (text || window < NUMBER_LINE_MAX - 1) ? 0
                                                                                : RESP_ERR_REPLY;
    size_t size = (size_t)(stop - bytes.data) + 2;
    if (size > bytes.size)
        return is_type(bytes.data[0]) ? 0 : RESP_ERR_REPLY;
    return stop[1] == '\n' ? (long)size : RESP_ERR_REPLY;
}

long resp_element_parse(struct resp_element *out, struct slice bytes)
{
    if (bytes.size == 0)
        return 0;
    long size = line_size(bytes);
    if (size > 0 && !resp_element_judge(out, bytes.data, (size_t)size - 2))
        return RESP_ERR_REPLY;
    return size;
}

// ---- the scanner -------------------------------------------------------------------------------
void resp_scan_init(struct resp_scan *scan)
{
    scan->elements_left = 1;
    scan->payload_left = 0;
    scan->frame_bytes = 0;
    scan->top_count = 0;
    scan->top_type = 0;
    scan->resp3 = false;
    scan->done = false;
    scan->line_size = 0;
}

// Counts one whole header. A push inside a frame is none of its elements.
static bool enter_element(struct resp_scan *scan, const struct resp_element *element)
{
    bool top = scan->top_type == 0;
    if (top) {
        scan->top_type = element->type;
        scan->top_count = element->announced;
    }
    scan->resp3 |= element->resp3;
    if (element->kind == KIND_BULK)
        scan->payload_left = (uint64_t)element->value + 2;
    if (element->kind == KIND_AGGREGATE || element->kind == KIND_ATTRIBUTE)
        scan->elements_left += (uint64_t)element->value;
    if (scan->elements_left >> 62 != 0)
        return false;
    bool counts = element->kind != KIND_ATTRIBUTE && (element->type != '>' || top);
    scan->elements_left -= counts;
    return true;
}

// Passes bytes of a bulk. Returns how many, or RESP_ERR_REPLY when it does not end in CRLF.
static long pass_payload(struct resp_scan *scan, const uint8_t *at, size_t size)
{
    size_t pass = scan->payload_left < size ? (size_t)scan->payload_left : size;
    uint64_t left = scan->payload_left - pass; // of which the last two are the CRLF
    if (left == 0 && at[pass - 1] != '\n')
        return RESP_ERR_REPLY;
    size_t behind_cr = left < 2 ? 2 - (size_t)left : 0;
    if (behind_cr > 0 && behind_cr <= pass && at[pass - behind_cr] != '\r')
        return RESP_ERR_REPLY;
    scan->payload_left = left;
    return (long)pass;
}

// Passes bytes of a text line whose type is in line[0].
static long pass_text(struct resp_scan *scan, const uint8_t *at, size_t size)
{
    if (scan->line_size == TEXT_CR) {
        struct resp_element element;
        if (*at != '\n' || !resp_element_judge(&element, scan->line, 1))
            return RESP_ERR_REPLY;
        scan->line_size = 0;
        return enter_element(scan, &element) ? 1 : RESP_ERR_REPLY;
    }
    const uint8_t *stop = memchr(at, '\r', size);
    if (stop == NULL)
        return (long)size;
    scan->line_size = TEXT_CR;
    return stop + 1 - at;
}

// Gathers a header that a portion's end cut.
static long gather_header(struct resp_scan *scan, const uint8_t *at, size_t size)
{
    if (scan->line_size > 0 && resp_is_text_line(scan->line[0]))
        return pass_text(scan, at, size);
    bool behind_cr = scan->line_size > 0 && scan->line[scan->line_size - 1] == '\r';
    if (behind_cr && *at != '\n')
        return RESP_ERR_REPLY;
    scan->line[scan->line_size++] = *at;
    if (!behind_cr) {
        bool full = scan->line_size >= NUMBER_LINE_MAX - 1 && *at != '\r';
        return full || !is_type(scan->line[0]) ? RESP_ERR_REPLY : 1;
    }
    struct resp_element element;
    if (!resp_element_judge(&element, scan->line, scan->line_size - 2u))
        return RESP_ERR_REPLY;
    scan->line_size = 0;
    return enter_element(scan, &element) ? 1 : RESP_ERR_REPLY;
}

// What nearly all elements are, whole: bulks (payload included), small numbers, array headers.
// Returns the bytes passed, or 0 for all else.
static inline size_t pass_common(struct resp_scan *scan, const uint8_t *at, size_t size)
{
    uint8_t type = *at;
    int64_t value = 0;
    if (type != '$' && type != ':' && type != '*')
        return 0;
    const uint8_t *stop = number_short(at + 1, at + size, &value);
    if (stop == NULL || stop[1] != '\n')
        return 0;
    size_t passed = (size_t)(stop + 2 - at);
    if (type == '$') {
        size_t whole = passed + (size_t)value + 2;
        if (whole > size || at[whole - 2] != '\r' || at[whole - 1] != '\n')
            return 0;
        passed = whole;
    }
    if (scan->top_type == 0) {
        scan->top_type = type;
        scan->top_count = type == ':' ? 0 : value;
    }
    if (type == '*') {
        if (scan->elements_left >> 61 != 0)
            return 0;
        scan->elements_left += (uint64_t)value;
    }
    scan->elements_left--;
    return passed;
}

static long pass_header(struct resp_scan *scan, const uint8_t *at, size_t size)
{
    if (scan->line_size > 0)
        return gather_header(scan, at, size);
    struct resp_element element;
    long head = resp_element_parse(&element, slice_of(at, size));
    if (head == 0)
        return gather_header(scan, at, size);
    if (head < 0 || !enter_element(scan, &element))
        return RESP_ERR_REPLY;
    return head;
}

long resp_scan_feed(struct resp_scan *scan, struct slice bytes)
{
    size_t at = 0;
    while (at < bytes.size && !scan->done) {
        const uint8_t *data = bytes.data + at;
        size_t left = bytes.size - at;
        size_t common = 0;
        if (scan->payload_left == 0 && scan->line_size == 0)
            common = pass_common(scan, data, left);
        long passed = common > 0               ? (long)common
                      : scan->payload_left > 0 ? pass_payload(scan, data, left)
                                               : pass_header(scan, data, left);
        if (passed < 0)
            return passed;
        at += (size_t)passed;
        scan->done = scan->elements_left == 0 && scan->payload_left == 0 && scan->line_size == 0;
    }
    scan->frame_bytes += at;
    return (long)at;
}

// ---- whole replies -----------------------------------------------------------------------------
static long scan_whole(struct slice bytes, bool *resp3)
{
    struct resp_scan scan;
    resp_scan_init(&scan);
    long size = resp_scan_feed(&scan, bytes);
    if (size < 0)
        return size;
    if (!scan.done)
        return 0;
    *resp3 = scan.resp3;
    return size;
}

static inline long bulk_length(struct slice bytes)
{
    int64_t length = 0;
    const uint8_t *stop = number_short(bytes.data + 1, bytes.data + bytes.size, &length);
    if (stop == NULL || stop[1] != '\n')
        return 0;
    size_t total = (size_t)(stop - bytes.data) + 2 + (size_t)length + 2;
    if (total > bytes.size)
        return 0;
    return bytes.data[total - 2] == '\r' && bytes.data[total - 1] == '\n' ? (long)total : 0;
}

static inline bool begins(struct slice bytes, const char *text, size_t size)
{
    return bytes.size >= size && memcmp(bytes.data, text, size) == 0;
}

// What is told at a glance; 0 for all else.
static inline long common_length(struct slice bytes, bool *is_resp3)
{
    int64_t value = 0;
    const uint8_t *stop;
    switch (bytes.data[0]) {
    case '$':
        if (bytes.size > 1 && bytes.data[1] == '-')
            return begins(bytes, "$-1\r\n", 5) ? 5 : 0;
        return bulk_length(bytes);
    case ':':
        stop = number_short(bytes.data + 1, bytes.data + bytes.size, &value);
        return stop != NULL && stop[1] == '\n' ? stop + 2 - bytes.data : 0;
    case '+':
        return begins(bytes, "+OK\r\n", 5) ? 5 : 0;
    case '_':
        *is_resp3 = true;
        return begins(bytes, "_\r\n", 3) ? 3 : 0;
    default:
        return 0;
    }
}

long resp_reply_length(struct slice bytes, bool *resp3)
{
    if (bytes.size == 0)
        return 0;
    bool is_resp3 = false;
    long size = common_length(bytes, &is_resp3);
    if (size == 0)
        return scan_whole(bytes, resp3); // judges whatever the glance leaves
    *resp3 = is_resp3;
    return size;
}
