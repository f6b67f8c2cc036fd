// links: weir_wire weir_base
// Replies: scanner, resp_reply_length and a recursive twin agree; what a frame is made of; RESP2.
#include "../test/model/resp_twin.h"
#include "wire/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        __builtin_trap();
}

static long feed(struct resp_scan *scan, struct slice bytes, size_t step)
{
    size_t at = 0;
    resp_scan_init(scan);
    while (at < bytes.size && !scan->done) {
        size_t portion = bytes.size - at < step ? bytes.size - at : step;
        uint8_t *copy = malloc(portion); // its end is where AddressSanitizer looks
        memcpy(copy, bytes.data + at, portion);
        long passed = resp_scan_feed(scan, slice_of(copy, portion));
        free(copy);
        if (passed < 0)
            return passed;
        require(scan->done || (size_t)passed == portion);
        at += (size_t)passed;
    }
    require(scan->frame_bytes == at);
    return scan->done ? (long)at : 0;
}

static long check_length(struct slice bytes, bool *resp3)
{
    int twin_resp3 = 0;
    long twin = twin_reply(bytes, 0, 0, &twin_resp3);
    long whole = resp_reply_length(bytes, resp3);
    for (size_t step = 1; step <= 8; step += step < 3 ? 1 : 5) {
        struct resp_scan scan;
        require(feed(&scan, bytes, step) == whole);
        require(whole <= 0 || scan.resp3 == *resp3);
    }
    if (twin != -2)
        require(whole == (twin == -1 ? RESP_ERR_REPLY : twin));
    require(twin <= 0 || *resp3 == (twin_resp3 != 0));
    return whole;
}

static void check_inside(struct slice frame)
{
    size_t cursor = 0, previous = 0;
    int64_t count = 0, value;
    struct slice element, text;
    bool resp3;
    while (resp_element_next(frame, &cursor, &element)) {
        require(resp_reply_length(element, &resp3) == (long)element.size);
        require(cursor > previous && cursor <= frame.size);
        previous = cursor;
        count++;
    }
    int64_t announced = resp_count(frame);
    require(announced < 0 ? count == 0 : count == announced);
    require((announced == -1) == resp_is_null(frame));
    if (resp_text(frame, &text))
        require(text.data >= frame.data && text.data + text.size <= frame.data + frame.size);
    if (resp_integer(frame, &value))
        require(resp_text(frame, &text));
}

static void check_resp2(struct slice frame, bool had_resp3)
{
    size_t room = 2 * frame.size + 64;
    uint8_t *out = malloc(room), *small = malloc(room);
    for (enum resp2_shape shape = RESP2_PLAIN; shape <= RESP2_OTHER; shape++) {
        long size = resp_to_resp2(frame, shape, out, room);
        require(size > 0 || shape == RESP2_FLAT_PAIRS || shape == RESP2_MAP_PAIRS);
        if (size <= 0)
            continue;
        bool resp3 = true;
        require(resp_reply_length(slice_of(out, (size_t)size), &resp3) == size && !resp3);
        if (shape == RESP2_PLAIN && !had_resp3)
            require((size_t)size == frame.size && memcmp(out, frame.data, frame.size) == 0);
        // one byte less than it took is refused; as much is enough
        require(resp_to_resp2(frame, shape, small, (size_t)size) == size);
        require(resp_to_resp2(frame, shape, small, (size_t)size - 1) == RESP_ERR_REPLY);
    }
    free(out);
    free(small);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (size > 0)
        memcpy(copy, data, size);
    bool resp3 = false;
    long length = check_length(slice_of(copy, size), &resp3);
    if (length > 0) {
        check_inside(slice_of(copy, (size_t)length));
        check_resp2(slice_of(copy, (size_t)length), resp3);
    }
    free(copy);
    return 0;
}
