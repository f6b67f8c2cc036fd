// Requests: what a live server answered (recorded_requests.inc), cuts at every byte, arguments.
#include "wire/resp.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct resp_bounds open_bounds = {INT32_MAX, LIMIT_BULK_BYTES, true};
static const struct resp_bounds closed_bounds = {LIMIT_UNAUTH_ARGS, LIMIT_UNAUTH_BULK, false};

struct recorded {
    bool authenticated;
    struct slice head, repeated;
    size_t times;
    struct slice tail, answer;
};
struct recorded_line {
    struct slice line, answer;
};

static const struct recorded requests[] = {
#define REQUEST(AUTH, HEAD, REPEATED, TIMES, TAIL, ANSWER)                                         \
    {AUTH,                                                                                         \
     {(const uint8_t *)HEAD, sizeof(HEAD) - 1},                                                    \
     {(const uint8_t *)REPEATED, sizeof(REPEATED) - 1},                                            \
     TIMES,                                                                                        \
     {(const uint8_t *)TAIL, sizeof(TAIL) - 1},                                                    \
     {(const uint8_t *)ANSWER, sizeof(ANSWER) - 1}},
#define LINE(...)
#include "recorded_requests.inc"
#undef REQUEST
#undef LINE
};

static const struct recorded_line lines[] = {
#define REQUEST(...)
#define LINE(TEXT, ANSWER)                                                                         \
    {{(const uint8_t *)TEXT, sizeof(TEXT) - 1}, {(const uint8_t *)ANSWER, sizeof(ANSWER) - 1}},
#include "recorded_requests.inc"
#undef REQUEST
#undef LINE
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

// ---- a server of two lines ---------------------------------------------------------------------
struct answers {
    char text[512];
    size_t size;
};

static void add(struct answers *answers, const char *text, size_t size)
{
    assert_true(answers->size + size <= sizeof answers->text);
    memcpy(answers->text + answers->size, text, size);
    answers->size += size;
}

// What the recorded servers do with a request: PONG, or NOAUTH, or an unknown command.
static void answer_request(struct answers *answers, struct slice name, bool authenticated)
{
    char line[256];
    int size;
    if (slice_is(name, "PING"))
        size = snprintf(line, sizeof line, "%s\r\n",
                        authenticated ? "+PONG" : "-NOAUTH Authentication required.");
    else
        size = snprintf(line, sizeof line,
                        "-ERR unknown command '%.*s', with args beginning with: \r\n",
                        (int)name.size, (const char *)name.data);
    add(answers, line, (size_t)size);
}

static int split_line(struct resp_request *request, uint8_t *out, size_t room)
{
    struct resp_request array;
    size_t need;
    long size = resp_inline_split(request->frame, out, room);
    if (size <= 0)
        return (int)size;
    assert_int_equal(resp_request_parse(&array, slice_of(out, (size_t)size), &open_bounds, &need),
                     size);
    *request = array;
    return 1;
}

// Feeds `bytes` in portions that end at multiples of `step`, as a connection does.
static void serve(struct answers *answers, struct slice bytes, bool authenticated, size_t step)
{
    static uint8_t room[4 * (LIMIT_INLINE_BYTES + 1) + 64];
    const struct resp_bounds *bounds = authenticated ? &open_bounds : &closed_bounds;
    size_t at = 0, have = 0;
    answers->size = 0;
    while (have < bytes.size) {
        have = have + step < bytes.size ? have + step : bytes.size;
        while (at < have) {
            struct resp_request request = {0};
            size_t need = 0;
            long size =
                resp_request_parse(&request, slice_of(bytes.data + at, have - at), bounds, &need);
            if (size == 0) {
                assert_true(need > have - at);
                break;
            }
            int split = 1;
            if (size > 0 && request.is_inline)
                split = split_line(&request, room, sizeof room);
            if (size < 0 || split < 0) {
                char line[128];
                add(answers, line,
                    resp_error_line(size < 0 ? (int)size : split, request.got, line, sizeof line));
                return;
            }
            if (split > 0 && request.argc > 0)
                answer_request(answers, request.argv[0], authenticated);
            at += (size_t)size;
        }
    }
}

static void test_answers_as_the_server_did(void **state)
{
    (void)state;
    uint8_t *bytes = malloc(1 << 20);
    for (size_t i = 0; i < COUNT(requests); i++) {
        const struct recorded *row = &requests[i];
        size_t size = row->head.size;
        memcpy(bytes, row->head.data, size);
        for (size_t n = 0; n < row->times; n++, size += row->repeated.size)
            memcpy(bytes + size, row->repeated.data, row->repeated.size);
        memcpy(bytes + size, row->tail.data, row->tail.size);
        size += row->tail.size;
        // the whole at once, then a byte at a time (long inputs by larger odd portions)
        size_t steps[] = {size > 0 ? size : 1, size < 2000 ? 1 : 977, 7};
        for (size_t s = 0; s < COUNT(steps); s++) {
            struct answers answers;
            serve(&answers, slice_of(bytes, size), row->authenticated,
                  size >= 2000 && steps[s] == 7 ? 4093 : steps[s]);
            if (answers.size != row->answer.size ||
                memcmp(answers.text, row->answer.data, answers.size) != 0)
                fail_msg("row %zu, step %zu: got \"%.*s\", the server said \"%.*s\"", i, steps[s],
                         (int)answers.size, answers.text, (int)row->answer.size,
                         (const char *)row->answer.data);
        }
    }
    free(bytes);
}

static void test_lines_are_split_as_the_server_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        uint8_t out[2048];
        char line[128];
        long size = resp_inline_split(lines[i].line, out, sizeof out);
        if (size == 0)
            size = sprintf((char *)out, "*0\r\n");
        if (size < 0)
            memcpy(out, line, (size_t)(size = (long)resp_error_line((int)size, 0, line, 128)));
        if ((size_t)size != lines[i].answer.size ||
            memcmp(out, lines[i].answer.data, (size_t)size) != 0)
            fail_msg("line %zu: got \"%.*s\"", i, (int)size, (const char *)out);
    }
}

static void test_line_end_is_not_part_of_the_words(void **state)
{
    (void)state;
    uint8_t out[256];
    assert_int_equal(resp_inline_split(SLICE("'a'\r\n"), out, sizeof out), 11);
    assert_int_equal(resp_inline_split(SLICE("a\n"), out, sizeof out), 11);
    assert_int_equal(resp_inline_split(SLICE("\r\n"), out, sizeof out), 0);
    assert_int_equal(resp_inline_split(SLICE("\n"), out, sizeof out), 0);
    assert_int_equal(resp_inline_split(slice_of(NULL, 0), out, sizeof out), 0);
    // a NUL hides what follows
    assert_int_equal(resp_inline_split(SLICE("a\0b"), out, sizeof out), 11);
}

static void test_inline_room(void **state)
{
    (void)state;
    uint8_t out[4 * 2 + 64];
    assert_int_equal(resp_inline_split(SLICE("ab"), out, sizeof out), 12);
    assert_int_equal(resp_inline_split(SLICE("ab"), out, sizeof out - 1), RESP_ERR_BIG_INLINE);
    // the line that grows most: words of one byte
    static uint8_t line[LIMIT_INLINE_BYTES], big[4 * sizeof line + 64];
    for (size_t i = 0; i < sizeof line; i++)
        line[i] = i % 2 ? ' ' : 'a';
    long size = resp_inline_split(slice_of(line, sizeof line), big, sizeof big);
    assert_int_equal(size, 8 + 7 * LIMIT_INLINE_BYTES / 2);
}

// ---- arguments ---------------------------------------------------------------------------------
static void test_first_arguments_are_in_place(void **state)
{
    (void)state;
    struct slice bytes = SLICE("*2\r\n$3\r\nGET\r\n$16\r\nkey:000000012345\r\n*1\r\n");
    struct resp_request request;
    size_t need = 0;
    assert_int_equal(resp_request_parse(&request, bytes, &open_bounds, &need), bytes.size - 4);
    assert_int_equal(request.argc, 2);
    assert_false(request.is_inline);
    assert_ptr_equal(request.frame.data, bytes.data);
    assert_int_equal(request.frame.size, bytes.size - 4);
    assert_true(slice_equal(request.argv[0], SLICE("GET")));
    assert_true(slice_equal(request.argv[1], SLICE("key:000000012345")));
}

static void test_arguments_beyond_are_walked(void **state)
{
    (void)state;
    enum { ARGS = 40 };
    uint8_t bytes[2048];
    size_t size = resp_put_header(bytes, '*', ARGS);
    for (int i = 0; i < ARGS; i++) {
        char text[64];
        memset(text, 'a' + i % 26, sizeof text);
        size += resp_put_bulk(bytes + size, slice_of(text, (size_t)i));
    }
    struct resp_request request;
    size_t need = 0;
    assert_int_equal(resp_request_parse(&request, slice_of(bytes, size), &open_bounds, &need),
                     size);
    assert_int_equal(request.argc, ARGS);

    size_t cursor = 0, count = 0;
    struct slice arg;
    while (resp_arg_next(request.frame, &cursor, &arg)) {
        assert_int_equal(arg.size, count);
        if (count < RESP_ARGS)
            assert_ptr_equal(arg.data, request.argv[count].data);
        if (count > 0)
            assert_int_equal(arg.data[0], 'a' + (int)count % 26);
        count++;
    }
    assert_int_equal(count, ARGS);
    assert_int_equal(cursor, size);
    assert_false(resp_arg_next(request.frame, &cursor, &arg));
}

static void test_argument_walk_is_total(void **state)
{
    (void)state;
    const char *odd[] = {
        "", "*", "*1\r", "*1\r\n", "*1\r\n$5\r\nab", "*1\r\n$5", "*1\r\nxx\r\n\r\n"};
    for (size_t i = 0; i < COUNT(odd); i++) {
        size_t cursor = 0;
        struct slice arg;
        assert_false(resp_arg_next(slice_str(odd[i]), &cursor, &arg));
    }
}

static void test_empty_requests(void **state)
{
    (void)state;
    struct resp_request request;
    size_t need = 0;
    assert_int_equal(resp_request_parse(&request, SLICE("*0\r\n"), &open_bounds, &need), 4);
    assert_int_equal(request.argc, 0);
    assert_int_equal(resp_request_parse(&request, SLICE("*-1\r\n"), &open_bounds, &need), 5);
    assert_int_equal(request.argc, 0);
    assert_int_equal(resp_request_parse(&request, SLICE("\r\n"), &open_bounds, &need), 2);
    assert_true(request.is_inline);
    assert_int_equal(resp_request_parse(&request, SLICE(""), &open_bounds, &need), 0);
    assert_int_equal(need, 1);
}

// ---- what more is needed -----------------------------------------------------------------------
// At every cut `need` is more than is there, at most the whole, and no shorter cut behind it would
// have told more.
static void check_need(struct slice bytes, long verdict)
{
    size_t promised = 0;
    for (size_t cut = 0; cut < bytes.size; cut++) {
        struct resp_request request, before;
        memset(&request, 0x5a, sizeof request);
        memcpy(&before, &request, sizeof before);
        size_t need = 0;
        long size = resp_request_parse(&request, slice_of(bytes.data, cut), &open_bounds, &need);
        if (size != 0) { // an error may be seen before the end
            assert_int_equal(size, verdict);
            assert_true(cut >= promised);
            return;
        }
        memcpy(request.argv, before.argv, sizeof request.argv); // the one part that may change
        assert_memory_equal(&request, &before, sizeof request);
        assert_true(need > cut);
        if (verdict > 0)
            assert_true(need <= bytes.size);
        promised = need > promised ? need : promised;
    }
}

static void test_need_never_passes_the_point_of_a_verdict(void **state)
{
    (void)state;
    struct slice good = SLICE("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$10\r\n0123456789\r\n");
    check_need(good, (long)good.size);
    check_need(SLICE("get k\r\n"), 7);
    check_need(SLICE("*2\r\n$3\r\nGET\r\n+\r\n!"), RESP_ERR_EXPECTED_BULK);
    check_need(SLICE("*2\r\n$3\r\nGET\r\n\r\n!"), RESP_ERR_EXPECTED_BULK);
    check_need(SLICE("*x\r\n!"), RESP_ERR_MULTIBULK_LENGTH);
    check_need(SLICE("*2\r\n$3\r\nGET\r\n$-1\r\n!"), RESP_ERR_BULK_LENGTH);

    struct resp_request request;
    size_t need = 0;
    assert_int_equal(resp_request_parse(&request, SLICE("*1\r\n$1000\r\nab"), &open_bounds, &need),
                     0);
    assert_int_equal(need, 11 + 1000 + 2); // a payload's end is known
}

static void test_offending_byte(void **state)
{
    (void)state;
    struct resp_request request = {0};
    size_t need = 0;
    assert_int_equal(resp_request_parse(&request, SLICE("*1\r\nfoo\r\n"), &open_bounds, &need),
                     RESP_ERR_EXPECTED_BULK);
    assert_int_equal(request.got, 'f');
}

static void test_own_bounds(void **state)
{
    (void)state;
    const struct resp_bounds bounds = {3, 5, true};
    struct resp_request request;
    size_t need = 0;
    assert_int_equal(resp_request_parse(&request, SLICE("*4\r\n"), &bounds, &need),
                     RESP_ERR_MULTIBULK_LENGTH);
    assert_int_equal(resp_request_parse(&request, SLICE("*3\r\n$6\r\n"), &bounds, &need),
                     RESP_ERR_BULK_LENGTH);
    assert_int_equal(resp_request_parse(&request, SLICE("*3\r\n$5\r\n"), &bounds, &need), 0);
}

static void test_error_lines_fit(void **state)
{
    (void)state;
    for (int error = RESP_ERR_REPLY; error <= RESP_ERR_MULTIBULK_LENGTH; error++) {
        char line[128];
        size_t size = resp_error_line(error, '%', line, sizeof line);
        assert_true(size > 20 && size < sizeof line);
        assert_memory_equal(line, "-ERR Protocol error: ", 21);
        assert_memory_equal(line + size - 2, "\r\n", 2);
        assert_int_equal(resp_error_line(error, '%', line, 10), 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_as_the_server_did),
        cmocka_unit_test(test_lines_are_split_as_the_server_does),
        cmocka_unit_test(test_line_end_is_not_part_of_the_words),
        cmocka_unit_test(test_inline_room),
        cmocka_unit_test(test_first_arguments_are_in_place),
        cmocka_unit_test(test_arguments_beyond_are_walked),
        cmocka_unit_test(test_argument_walk_is_total),
        cmocka_unit_test(test_empty_requests),
        cmocka_unit_test(test_need_never_passes_the_point_of_a_verdict),
        cmocka_unit_test(test_offending_byte),
        cmocka_unit_test(test_own_bounds),
        cmocka_unit_test(test_error_lines_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
