#pragma once
// One element's header, taken apart. Internal to wire/: scan.c, reply.c and resp2.c share it.
#include "wire/number.h"
#include "wire/resp.h"

enum { RESP_SIZE_BITS = 40 }; // lengths and counts of replies stay below 2^40

enum resp_kind {
    KIND_LINE,      // + - : , ( # _     the header is all
    KIND_BULK,      // $ = !             `value` bytes and CRLF follow
    KIND_AGGREGATE, // * ~ > %        `value` elements follow (pairs are counted twice)
    KIND_ATTRIBUTE, // |              as an aggregate, and the element it decorates after it
    KIND_NULL,      // $-1 *-1 and _
};

struct resp_element {
    uint8_t type;
    enum resp_kind kind;
    bool resp3;        // a type that RESP2 lacks
    int64_t value;     // bytes of a bulk, elements of an aggregate
    int64_t announced; // the number as it stands in the header, -1 for the nulls of RESP2
};

// Judges a header line: `line` is the type byte and the text up to the CRLF, which is not included.
// False when malformed. Lines that are text (+ - , and big numbers) are not looked into.
bool resp_element_judge(struct resp_element *out, const uint8_t *line, size_t size);

// The header that begins at `bytes`, and its size. Returns that size, 0 or RESP_ERR_REPLY.
long resp_element_parse(struct resp_element *out, struct slice bytes);

static inline bool resp_is_text_line(uint8_t type)
{
    return type == '+' || type == '-' || type == ',' || type == '(';
}
