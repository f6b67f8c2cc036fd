#pragma once
// RESP2 and RESP3, both directions. Pure: no allocation, no I/O, no clock. Bytes are hostile: every
// length is bounded, every function total.
//
// Verdicts: > 0 bytes consumed, 0 more bytes are needed, < 0 malformed (an enum resp_error).
// Outputs are untouched unless the verdict is > 0 (a request's argv excepted).
//
// Source: redis 7.0 networking.c (processInlineBuffer, processMultibulkBuffer), the RESP3 text.
#include "base/limits.h"
#include "base/slice.h"

// ---- malformed input, and the words Redis uses for it -----------------------------------------
enum resp_error {
    RESP_ERR_MULTIBULK_LENGTH = -1, // "Protocol error: invalid multibulk length"
    RESP_ERR_BULK_LENGTH = -2,      // "Protocol error: invalid bulk length"
    RESP_ERR_EXPECTED_BULK = -3,    // "Protocol error: expected '$', got 'x'" (see resp_error_text)
    RESP_ERR_BIG_INLINE = -4,       // "Protocol error: too big inline request"
    RESP_ERR_BIG_COUNT = -5,        // "Protocol error: too big mbulk count string"
    RESP_ERR_BIG_BULK_COUNT = -6,   // "Protocol error: too big bulk count string"
    RESP_ERR_UNBALANCED = -7,       // "Protocol error: unbalanced quotes in request"
    RESP_ERR_UNAUTH_MULTIBULK = -8, // "Protocol error: unauthenticated multibulk length"
    RESP_ERR_UNAUTH_BULK = -9,      // "Protocol error: unauthenticated bulk length"
    RESP_ERR_REPLY = -10,           // a reply breaks the grammar or a bound
};
// The whole reply line, "-ERR Protocol error: …\r\n". `got` is the offending byte of EXPECTED_BULK
// (Redis prints it as '%c'). Returns its length; `room` >= 128 suffices for every code.
size_t resp_error_line(int error, uint8_t got, char *out, size_t room);

// ---- requests ---------------------------------------------------------------------------------
enum { RESP_ARGS = 8 }; // arguments kept in place; the rest are reached with resp_arg_next

struct resp_request {
    struct slice frame;           // the whole request as received
    uint32_t argc;                // all arguments, 0 for "*0", "*-1" and an empty inline line
    bool is_inline;               // the frame is text: resp_inline_split rewrites it as RESP
    struct slice argv[RESP_ARGS]; // the first min(argc, RESP_ARGS), slices of the frame
    uint8_t got;                  // set on RESP_ERR_EXPECTED_BULK too: the offending byte
};

// What a connection may send, which depends on whether it has authenticated.
struct resp_bounds {
    int64_t max_args; // LIMIT_MULTIBULK_ARGS or LIMIT_UNAUTH_ARGS
    int64_t max_bulk; // LIMIT_BULK_BYTES or LIMIT_UNAUTH_BULK
    bool authenticated;
};

// Parses one request from contiguous bytes. On 0, *need (never NULL) is a lower bound of the total
// bytes before another call can do better. For an inline request argv is not set (argc too): call
// resp_inline_split, which writes the same request as a RESP array.
long resp_request_parse(struct resp_request *out, struct slice bytes,
                        const struct resp_bounds *bounds, size_t *need);
// Rewrites an inline line (quotes and escapes as sdssplitargs) as "*n\r\n$len\r\n…" in `out`.
// Returns its length (> 0), 0 for an empty line, RESP_ERR_UNBALANCED, or RESP_ERR_BIG_INLINE when
// `room` does not suffice (room >= 4 * line + 64 always does).
long resp_inline_split(struct slice line, uint8_t *out, size_t room);

// Walks all arguments of a RESP-array request frame that was parsed before. *cursor starts as 0.
// Returns false when there are no more.
bool resp_arg_next(struct slice frame, size_t *cursor, struct slice *arg);

// ---- frames of unknown size: an incremental scanner -------------------------------------------
// Feed bytes as they come, in any portions; it finds the end of one frame without looking back and
// without memory. Serves replies and (multi-bulk) requests alike.
struct resp_scan {
    uint64_t elements_left; // of the frame, the one under way included; saturating bound inside
    uint64_t payload_left;  // bytes of a bulk (its CRLF included) still to pass
    uint64_t frame_bytes;   // consumed so far for this frame
    int64_t top_count;      // elements (or bytes) announced by the first header, -1 null
    uint8_t top_type;       // first byte of the frame
    bool resp3;             // an element has a type that RESP2 lacks (_ , # ( = % ~ > ! |)
    bool done;
    uint8_t line_size; // header line gathered so far, when it was split
    uint8_t line[64];
};

void resp_scan_init(struct resp_scan *scan);
// Consumes bytes up to the end of the frame; sets scan->done there. Returns bytes consumed (may be
// all of them with done still false), or RESP_ERR_REPLY. Simple strings and errors of any length
// are passed over; numbers are bounded. Streamed RESP3 types ("$?", "*?") are malformed: no Redis
// sends them. An attribute ("|") and the element it decorates are one frame.
long resp_scan_feed(struct resp_scan *scan, struct slice bytes);
// Bytes certainly still to come for this frame (0 when unknown): for a bulk, the rest of it.
static inline uint64_t resp_scan_more(const struct resp_scan *scan)
{
    return scan->payload_left;
}

// One reply from contiguous bytes, the fast way: > 0 its length, 0 incomplete, < 0 malformed.
// *resp3 as in the scanner.
long resp_reply_length(struct slice bytes, bool *resp3);

// ---- replies: looking inside ------------------------------------------------------------------
// Walks elements of an aggregate reply: *cursor starts as 0 and moves past the header first.
// Gives each direct element as a whole frame. False at the end.
bool resp_element_next(struct slice frame, size_t *cursor, struct slice *element);
// The number of direct elements (for a map: keys and values), -1 for null, -2 if no aggregate.
int64_t resp_count(struct slice frame);
// The content of a bulk, simple string, verbatim (without "txt:"), number or error line; false for
// nulls and aggregates.
bool resp_text(struct slice frame, struct slice *text);
bool resp_integer(struct slice frame, int64_t *value);
static inline bool resp_is_error(struct slice frame)
{
    return frame.size > 0 && (frame.data[0] == '-' || frame.data[0] == '!');
}
bool resp_is_null(struct slice frame); // "_", "$-1", "*-1"

// ---- RESP3 -> RESP2 ---------------------------------------------------------------------------
// How a command's RESP3 reply looks to a RESP2 client where the types alone do not tell.
enum resp2_shape {
    RESP2_PLAIN,      // maps and sets to flat arrays, double to bulk, bool to integer, "_" to "$-1"
    RESP2_NULL_ARRAY, // as PLAIN, but nulls are "*-1", those of elements too (GEOPOS)
    RESP2_FLAT_PAIRS, // as PLAIN, and an array of [member, score] pairs becomes one flat array
    RESP2_MAP_PAIRS,  // a top-level map becomes an array of 2-element arrays (XREAD); nulls "*-1"
    RESP2_PENDING,    // as PLAIN, but a null at the end of the top-level array is "*-1" (XPENDING)
    RESP2_OTHER,      // can't be told from the reply: the command takes a RESP2 connection
};
// Rewrites one complete reply. Returns bytes written, or RESP_ERR_REPLY when malformed or `room` is
// too small; 2 * frame.size + 64 always suffices (static proof in the source).
long resp_to_resp2(struct slice frame, enum resp2_shape shape, uint8_t *out, size_t room);

// ---- composing --------------------------------------------------------------------------------
// Each returns the bytes written; the caller guarantees room (RESP_HEAD_ROOM for headers).
enum { RESP_HEAD_ROOM = 32 };
size_t resp_put_header(uint8_t *out, char type, int64_t value); // "$64\r\n", "*3\r\n", ":1\r\n"
size_t resp_put_bulk(uint8_t *out, struct slice bytes);         // header, bytes, CRLF
size_t resp_put_i64(uint8_t *out, int64_t value);               // digits alone
