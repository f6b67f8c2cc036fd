// What a subscribed connection says, in portions of every size.
#include "proxy/subscription.h"
#include "wire/resp.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROOM = 8192 };

struct shown {
    char text[ROOM];
    size_t size;
    unsigned probed;
};

static void show(struct shown *shown, struct slice bytes)
{
    assert_true(shown->size + bytes.size < ROOM);
    memcpy(shown->text + shown->size, bytes.data, bytes.size);
    shown->size += bytes.size;
}

// Feeds the stream in portions of `step` bytes.
static void feed(struct subscription *sub, struct shown *shown, const char *stream, size_t step)
{
    struct resp_scan scan;
    resp_scan_init(&scan);
    for (size_t size = strlen(stream), at = 0; at < size;) {
        struct slice portion = slice_of(stream + at, size - at < step ? size - at : step);
        long n = resp_scan_feed(&scan, portion);
        assert_true(n > 0);
        struct slice part = slice_of(portion.data, (size_t)n), before = {0};
        switch (subscription_take(sub, part, scan.frame_bytes, scan.done, &before)) {
        case SUBSCRIPTION_SHOW:
            show(shown, before);
            show(shown, part);
            break;
        case SUBSCRIPTION_PROBED:
            shown->probed++;
            break;
        case SUBSCRIPTION_WITHHOLD:
            break;
        }
        at += (size_t)n;
        if (scan.done)
            resp_scan_init(&scan);
    }
}

static void everything_but_the_probe_is_shown(void **state)
{
    (void)state;
    static const char before[] = "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
                                 "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\n:0\r\n!\r\n"
                                 "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n";
    for (size_t step = 1; step < 400; step++) {
        struct subscription sub = {0};
        struct shown shown = {.size = 0};
        uint8_t ping[SUBSCRIPTION_PING];
        char stream[ROOM], expected[ROOM], large[300];
        memset(large, 'x', sizeof large - 1);
        large[sizeof large - 1] = '\0';
        size_t size = subscription_probe(&sub, 0x1234567890abcdefull, ping);
        assert_int_equal(size, strlen("*2\r\n$4\r\nPING\r\n$16\r\n1234567890abcdef\r\n"));
        assert_memory_equal(ping, "*2\r\n$4\r\nPING\r\n$16\r\n1234567890abcdef\r\n", size);
        snprintf(expected, sizeof expected, "%s$299\r\n%s\r\n$3\r\nabc\r\n", before, large);
        snprintf(stream, sizeof stream, "%s$299\r\n%s\r\n$16\r\n1234567890abcdef\r\n$3\r\nabc\r\n", before,
                 large);
        feed(&sub, &shown, stream, step);
        assert_int_equal(shown.probed, 1);
        assert_false(sub.probing || sub.channels || sub.shards);
        assert_int_equal(shown.size, strlen(expected));
        assert_memory_equal(shown.text, expected, shown.size);
    }
}

static void what_is_left_is_known(void **state)
{
    (void)state;
    static const struct {
        const char *stream;
        bool channels, shards;
    } cases[] = {
        {"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", true, false},
        {">3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n", false, true},
        {">3\r\n$10\r\npsubscribe\r\n$1\r\na\r\n:10\r\n", true, false},
        {">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n", false, false},
        {"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$12\r\nsunsubscribe\r\n$-1\r\n:0\r\n", true, false},
        {"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n:0\r\n", true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t step = 1; step < 80; step++) {
            struct subscription sub = {0};
            struct shown shown = {.size = 0};
            feed(&sub, &shown, cases[i].stream, step);
            assert_int_equal(sub.channels, cases[i].channels);
            assert_int_equal(sub.shards, cases[i].shards);
            assert_int_equal(shown.size, strlen(cases[i].stream));
            assert_memory_equal(shown.text, cases[i].stream, shown.size);
        }
    }
}

static void pong_in_resp2_is_the_probe_too(void **state)
{
    (void)state;
    struct subscription sub = {0};
    struct shown shown = {.size = 0};
    uint8_t ping[SUBSCRIPTION_PING];
    subscription_probe(&sub, 1, ping);
    feed(&sub, &shown, "*2\r\n$4\r\npong\r\n$16\r\n0000000000000001\r\n+PONG\r\n", 5);
    assert_int_equal(shown.probed, 1);
    assert_int_equal(shown.size, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_but_the_probe_is_shown),
        cmocka_unit_test(what_is_left_is_known),
        cmocka_unit_test(pong_in_resp2_is_the_probe_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
