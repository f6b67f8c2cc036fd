// Ends of frames: by the scanner in any portions, by resp_reply_length, against a recursive twin.
#include "../../model/resp_twin.h"
#include "wire/resp.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define ROW(text)                                                                                  \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static const struct slice good[] = {
    ROW("+OK\r\n"),
    ROW("+\r\n"),
    ROW("-ERR x y\r\n"),
    ROW(":0\r\n"),
    ROW(":-9223372036854775808\r\n"),
    ROW(":1\r\n"),
    ROW(":123456789\r\n"),
    ROW(":1234567890123\r\n"),
    ROW("$0\r\n\r\n"),
    ROW("$-1\r\n"),
    ROW("$5\r\nhello\r\n"),
    ROW("$5\r\n\r\n\r\n\n\r\n"),
    ROW("*0\r\n"),
    ROW("*-1\r\n"),
    ROW("*2\r\n$1\r\na\r\n*1\r\n:7\r\n"),
    ROW("*1\r\n*1\r\n*1\r\n*1\r\n*0\r\n"),
    ROW("_\r\n"),
    ROW("#t\r\n"),
    ROW("#f\r\n"),
    ROW(",3.5\r\n"),
    ROW(",inf\r\n"),
    ROW("(3492890328409238509324850943850943825024385\r\n"),
    ROW("=15\r\ntxt:Some string\r\n"),
    ROW("!21\r\nSYNTAX invalid syntax\r\n"),
    ROW("%2\r\n+a\r\n:1\r\n+b\r\n%1\r\n+c\r\n_\r\n"),
    ROW("~3\r\n:1\r\n:2\r\n~0\r\n"),
    ROW("%0\r\n"),
    ROW(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"),
    ROW(">2\r\n+invalidate\r\n_\r\n"),
    ROW("|1\r\n+key-popularity\r\n%1\r\n+a\r\n,0.1\r\n*1\r\n:1\r\n"),
    ROW("|0\r\n|0\r\n+x\r\n"),
    ROW("*2\r\n|1\r\n+ttl\r\n:3600\r\n:1\r\n:2\r\n"),
    ROW("*2\r\n:1\r\n>1\r\n+push\r\n:2\r\n"),
    ROW("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"),
    ROW("+an \"odd\" \nline\r\n"),
};

static const struct slice bad[] = {
    ROW("x\r\n"),
    ROW("\r\n"),
    ROW("\0\r\n"),
    ROW("$?\r\n"),
    ROW("*?\r\n"),
    ROW(":\r\n"),
    ROW(":+1\r\n"),
    ROW(":01\r\n"),
    ROW(":1.5\r\n"),
    ROW(":9223372036854775808\r\n"),
    ROW("$-2\r\n"),
    ROW("*-2\r\n"),
    ROW("%-1\r\n"),
    ROW("~-1\r\n"),
    ROW(">-1\r\n"),
    ROW("|-1\r\n"),
    ROW("=-1\r\n"),
    ROW("$1099511627776\r\n"),
    ROW("%9223372036854775807\r\n"),
    ROW("*9223372036854775807\r\n"),
    ROW("$3\r\nabcd\r\n"),
    ROW("$3\r\nabc\r\r"),
    ROW("$3\r\nabc\n\n"),
    ROW("$0\r\nab"),
    ROW("+a\rb\r\n"),
    ROW("_x\r\n"),
    ROW("#x\r\n"),
    ROW("#\r\n"),
    ROW("#tt\r\n"),
    ROW("*1\r\n?\r\n"),
    ROW("*\r\n"),
    ROW(":1\rx"),
    ROW(":1111111111111111111111111111111111111111\r\n"),
    ROW("*1\n:1\n_________________________\r\n"),
};

// Feeds in portions of `step`; the verdict is the frame's length, 0 or RESP_ERR_REPLY.
static long feed(struct resp_scan *scan, struct slice bytes, size_t step)
{
    size_t at = 0;
    resp_scan_init(scan);
    while (at < bytes.size && !scan->done) {
        size_t portion = bytes.size - at < step ? bytes.size - at : step;
        long passed = resp_scan_feed(scan, slice_of(bytes.data + at, portion));
        if (passed < 0)
            return passed;
        assert_true(scan->done || (size_t)passed == portion);
        at += (size_t)passed;
        assert_int_equal(scan->frame_bytes, at);
    }
    return scan->done ? (long)at : 0;
}

// All portions agree with each other, with resp_reply_length and with the twin.
static long check_all(struct slice bytes, bool *resp3)
{
    int twin_resp3 = 0;
    long twin = twin_reply(bytes, 0, 0, &twin_resp3);
    bool whole_resp3 = false;
    long whole = resp_reply_length(bytes, &whole_resp3);
    static const size_t steps[] = {1, 2, 3, 5, 7, 1 << 20};
    for (size_t i = 0; i < COUNT(steps); i++) {
        struct resp_scan scan;
        long size = feed(&scan, bytes, steps[i]);
        if (size != whole)
            fail_msg("step %zu says %ld, at once %ld: %.*s", steps[i], size, whole, (int)bytes.size,
                     (const char *)bytes.data);
        if (size > 0)
            assert_int_equal(scan.resp3, whole_resp3);
    }
    if (twin != -2)
        assert_int_equal(whole, twin == -1 ? RESP_ERR_REPLY : twin);
    if (twin > 0)
        assert_int_equal(whole_resp3, twin_resp3);
    *resp3 = whole_resp3;
    return whole;
}

static void test_whole_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        uint8_t bytes[256];
        bool resp3;
        memcpy(bytes, good[i].data, good[i].size);
        memcpy(bytes + good[i].size, "+next\r\n", 7);
        assert_int_equal(check_all(good[i], &resp3), good[i].size);
        assert_int_equal(check_all(slice_of(bytes, good[i].size + 7), &resp3), good[i].size);
        for (size_t cut = 1; cut < good[i].size; cut++)
            assert_int_equal(check_all(slice_of(bytes, cut), &resp3), 0);
    }
}

static void test_malformed_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        bool resp3;
        if (check_all(bad[i], &resp3) != RESP_ERR_REPLY)
            fail_msg("row %zu is not refused: %s", i, (const char *)bad[i].data);
    }
}

static void test_what_the_scanner_tells(void **state)
{
    (void)state;
    struct resp_scan scan;
    resp_scan_init(&scan);
    assert_int_equal(resp_scan_feed(&scan, SLICE("$100\r\nabc")), 9);
    assert_int_equal(resp_scan_more(&scan), 99);
    assert_int_equal(scan.top_type, '$');
    assert_int_equal(scan.top_count, 100);
    assert_false(scan.done);

    resp_scan_init(&scan);
    assert_int_equal(resp_scan_feed(&scan, SLICE("*3\r\n:1\r\n")), 8);
    assert_int_equal(scan.top_count, 3);
    assert_int_equal(scan.elements_left, 2);
    assert_int_equal(resp_scan_more(&scan), 0);
    assert_int_equal(resp_scan_feed(&scan, SLICE("*-1\r\n_\r\n+beyond\r\n")), 8);
    assert_true(scan.done);
    assert_true(scan.resp3);
    assert_int_equal(scan.frame_bytes, 16);
    assert_int_equal(resp_scan_feed(&scan, SLICE("+x\r\n")), 0); // done stays done

    resp_scan_init(&scan);
    assert_int_equal(resp_scan_feed(&scan, SLICE("*-1\r\n")), 5);
    assert_int_equal(scan.top_count, -1);
    assert_true(scan.done);
    assert_false(scan.resp3);
}

static void test_long_lines_in_small_portions(void **state)
{
    (void)state;
    static char line[100000];
    memset(line, 'e', sizeof line);
    line[0] = '-';
    memcpy(line + sizeof line - 2, "\r\n", 2);
    struct resp_scan scan;
    assert_int_equal(feed(&scan, slice_of(line, sizeof line), 13), sizeof line);
    assert_int_equal(feed(&scan, slice_of(line, sizeof line), sizeof line), sizeof line);
}

static void test_deep_nesting_costs_nothing(void **state)
{
    (void)state;
    static char deep[400004];
    for (size_t i = 0; i < 400000; i += 4)
        memcpy(deep + i, "*1\r\n", 4);
    memcpy(deep + 400000, ":1\r\n", 4);
    bool resp3;
    assert_int_equal(resp_reply_length(slice_of(deep, sizeof deep), &resp3), sizeof deep);
    // counts that multiply are refused long before they wrap
    struct resp_scan scan;
    resp_scan_init(&scan);
    long passed = 0;
    for (uint64_t i = 0; i < (1ull << 24) && passed >= 0; i++)
        passed = resp_scan_feed(&scan, SLICE("*1099511627775\r\n"));
    assert_int_equal(passed, RESP_ERR_REPLY);
}

// ---- random frames -----------------------------------------------------------------------------
static uint64_t random_state = 88172645463325252ull;
static unsigned random_below(unsigned bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % bound);
}

static size_t random_frame(uint8_t *out, int depth)
{
    static const char *const leaves[] = {"+OK\r\n",  ":5\r\n",          "$-1\r\n",    "_\r\n",
                                         ",1.5\r\n", "#t\r\n",          "(12\r\n",    "*-1\r\n",
                                         "-ERR\r\n", "=5\r\ntxt:a\r\n", "!1\r\nx\r\n"};
    if (depth == 0 || random_below(3) == 0) {
        if (random_below(2) == 0) {
            uint8_t text[40];
            memset(text, "a\r\n$*"[random_below(5)], sizeof text);
            return resp_put_bulk(out, slice_of(text, random_below(40)));
        }
        const char *leaf = leaves[random_below(COUNT(leaves))];
        memcpy(out, leaf, strlen(leaf));
        return strlen(leaf);
    }
    char type = "**~%|>"[random_below(6)];
    unsigned count = random_below(4);
    size_t size = resp_put_header(out, type, count);
    for (unsigned i = 0; i < count * (type == '%' || type == '|' ? 2 : 1); i++)
        size += random_frame(out + size, depth - 1);
    return size;
}

static void test_random_frames_agree_with_the_twin(void **state)
{
    (void)state;
    static uint8_t frame[1 << 16];
    for (int round = 0; round < 20000; round++) {
        size_t size = random_frame(frame, 4);
        for (unsigned i = random_below(3); i > 0; i--) // and damage
            frame[random_below((unsigned)size)] = (uint8_t) "*$\r\n0-:x|>%"[random_below(11)];
        bool resp3;
        check_all(slice_of(frame, random_below(4) == 0 ? random_below((unsigned)size + 1) : size),
                  &resp3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_frames),
        cmocka_unit_test(test_malformed_frames),
        cmocka_unit_test(test_what_the_scanner_tells),
        cmocka_unit_test(test_long_lines_in_small_portions),
        cmocka_unit_test(test_deep_nesting_costs_nothing),
        cmocka_unit_test(test_random_frames_agree_with_the_twin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
