// The command table: names, weir's classification, keys. What the server itself says of keys and
// positions is compared in test/integration/test_command_keys.py.
#include "base/err.h"
#include "wire/command.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void test_every_name_is_found(void **state)
{
    (void)state;
    for (int id = 1; id < COMMAND_COUNT; id++) {
        const struct command *command = command_by_id((enum command_id)id);
        assert_int_equal(command->id, id);
        char name[32];
        size_t size = strlen(command->name);
        memcpy(name, command->name, size);
        for (unsigned upper = 0; upper < 4; upper++) { // none, all, odd and even letters
            for (size_t i = 0; i < size; i++)
                if (name[i] >= 'A' && name[i] <= 'z' &&
                    (upper == 1 || (upper > 1 && i % 2 == upper % 2)))
                    name[i] = (char)(command->name[i] >= 'a' ? command->name[i] - 32 : name[i]);
            assert_ptr_equal(command_find(slice_of(name, size)), command);
        }
    }
}

static void test_other_names_are_unknown(void **state)
{
    (void)state;
    const char *names[] = {"",
                           "g",
                           "ge",
                           "gett",
                           "getx",
                           "\x07"
                           "et",
                           "config|get",
                           "georadiusbymembex",
                           "georadiusxymember",
                           "georadiusbymember_rx",
                           "a name of more than 24 bytes",
                           "restore\rasking",
                           "bitfield\x7f"
                           "ro",
                           "bitfield\x1fro",
                           "GET ",
                           "[]"};
    for (size_t i = 0; i < COUNT(names); i++)
        assert_int_equal(command_find(slice_str(names[i]))->id, COMMAND_UNKNOWN);
    assert_int_equal(command_find(slice_of("get\0", 4))->id, COMMAND_UNKNOWN);
    // every single-byte change of every name
    for (int id = 1; id < COMMAND_COUNT; id++) {
        uint8_t name[32];
        const char *right = command_by_id((enum command_id)id)->name;
        size_t size = strlen(right);
        for (size_t at = 0; at < size; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                memcpy(name, right, size);
                name[at] = (uint8_t)byte;
                const struct command *found = command_find(slice_of(name, size));
                bool same = slice_is(slice_of(name, size), right);
                assert_int_equal(found->id == (enum command_id)id, same);
                assert_true(found->id == COMMAND_UNKNOWN ||
                            slice_is(slice_of(name, size), found->name));
            }
        }
    }
}

static void test_unknown_is_a_private_write(void **state)
{
    (void)state;
    const struct command *unknown = command_find(SLICE("nonsense"));
    assert_int_equal(unknown->route, ROUTE_PRIVATE);
    assert_int_equal(unknown->flags, COMMAND_WRITE);
    assert_ptr_equal(command_by_id(COMMAND_UNKNOWN), unknown);
    assert_ptr_equal(command_by_id((enum command_id)9999), unknown);
    assert_ptr_equal(command_by_id((enum command_id) - 1), unknown);
}

static const struct command *of(const char *name)
{
    return command_find(slice_str(name));
}

// The rules at the head of command_class.inc, as far as a program can hold them.
static void test_classification_keeps_its_rules(void **state)
{
    (void)state;
    for (int id = 1; id < COMMAND_COUNT; id++) {
        const struct command *command = command_by_id((enum command_id)id);
        bool lane = command->route == ROUTE_LANE;
        if (command->flags & COMMAND_CACHEABLE) {
            assert_true(lane && command->flags & COMMAND_READONLY && command->first_key == 1);
            assert_int_not_equal(command->shape, RESP2_OTHER);
        }
        if (command->flags & (COMMAND_BLOCKING | COMMAND_ADMIN))
            assert_false(lane);
        if (command->flags & COMMAND_FLUSH)
            assert_true(command->flags & COMMAND_WRITE);
        if (lane) // a lane speaks RESP3 for all clients
            assert_int_not_equal(command->shape, RESP2_OTHER);
        if (command->flags & COMMAND_NO_AUTH)
            assert_int_equal(command->route, ROUTE_LOCAL);
        assert_false((command->flags & COMMAND_WRITE) && (command->flags & COMMAND_READONLY));
        assert_true(!(command->flags & COMMAND_HASH_FIELDS) || command->name[0] == 'h');
    }
}

static void test_routes_that_matter(void **state)
{
    (void)state;
    const char *lane[] = {"get", "set", "ping", "info", "scan", "publish", "swapdb", "flushall"};
    const char *private[] = {"eval",   "keys",   "sort",    "blpop",    "xread", "wait",  "debug",
                             "config", "object", "migrate", "shutdown", "role",  "fcall", "script"};
    const char *session[] = {"multi", "exec", "watch", "subscribe", "monitor", "asking", "psync"};
    const char *local[] = {"hello", "auth", "client", "select", "reset", "quit", "weir"};
    for (size_t i = 0; i < COUNT(lane); i++)
        assert_int_equal(of(lane[i])->route, ROUTE_LANE);
    for (size_t i = 0; i < COUNT(private); i++)
        assert_int_equal(of(private[i])->route, ROUTE_PRIVATE);
    for (size_t i = 0; i < COUNT(session); i++)
        assert_int_equal(of(session[i])->route, ROUTE_SESSION);
    for (size_t i = 0; i < COUNT(local); i++)
        assert_int_equal(of(local[i])->route, ROUTE_LOCAL);
    const char *uncacheable[] = {"ttl",  "pttl",        "object", "xinfo", "xpending",
                                 "dump", "srandmember", "hscan",  "touch", "sort_ro",
                                 "lcs",  "set",         "sunion", "pfadd"};
    for (size_t i = 0; i < COUNT(uncacheable); i++)
        assert_int_equal(of(uncacheable[i])->flags & COMMAND_CACHEABLE, 0);
    const char *writes[] = {"eval",  "evalsha",   "fcall",      "xgroup",  "function",
                            "debug", "replicaof", "module",     "pfdebug", "migrate",
                            "getex", "spop",      "xreadgroup", "sort"};
    for (size_t i = 0; i < COUNT(writes); i++)
        assert_true(of(writes[i])->flags & COMMAND_WRITE);
    const char *flushes[] = {"flushall", "flushdb", "swapdb", "debug", "replicaof", "slaveof"};
    for (size_t i = 0; i < COUNT(flushes); i++)
        assert_true(of(flushes[i])->flags & COMMAND_FLUSH);
}

// ---- keys --------------------------------------------------------------------------------------
struct joined {
    char text[256];
    size_t size;
};

static void join(void *context, struct slice key)
{
    struct joined *joined = context;
    joined->size +=
        (size_t)snprintf(joined->text + joined->size, sizeof joined->text - joined->size, "%.*s ",
                         (int)key.size, (const char *)key.data);
}

static int keys_of(const char *line, struct joined *joined)
{
    static uint8_t array[4096];
    const struct resp_bounds bounds = {INT32_MAX, LIMIT_BULK_BYTES, true};
    struct resp_request request;
    size_t need = 0;
    long size = resp_inline_split(slice_str(line), array, sizeof array);
    assert_int_equal(resp_request_parse(&request, slice_of(array, (size_t)size), &bounds, &need),
                     size);
    joined->size = 0;
    joined->text[0] = 0;
    int count = command_keys(command_find(request.argv[0]), &request, join, joined);
    assert_int_equal(count, command_keys(command_find(request.argv[0]), &request, NULL, NULL));
    return count;
}

static void test_keys(void **state)
{
    (void)state;
    static const struct {
        const char *line, *keys;
        int count;
    } rows[] = {
        {"get k", "k ", 1},
        {"mset a 1 b 2 c 3 d 4 e 5 f 6", "a b c d e f ", 6},
        {"blpop a b c d e f g h i j 0", "a b c d e f g h i j ", 10},
        {"eval s 0", "", 0},
        {"eval s 9 a b c d e f g h i x", "a b c d e f g h i ", 9},
        {"eval s 2 a", "", WEIR_EMALFORMED},
        {"eval s -1 a", "", WEIR_EMALFORMED},
        {"eval s x a", "", WEIR_EMALFORMED},
        {"zunionstore d 2 a b weights 1 2", "d a b ", 3},
        {"zunionstore d 0 a", "", WEIR_EMALFORMED},
        {"zunion 9223372036854775807 a", "", WEIR_EMALFORMED},
        {"lmpop 2 a b left", "a b ", 2},
        {"blmpop 0 1 a left", "a ", 1},
        {"sort k by x get store limit 0 store store d", "k d ", 2},
        {"sort k store", "k ", 1},
        {"georadius k 1 2 3 km withdist store d", "k d ", 2},
        {"georadiusbymember k m 3 km storedist d", "k d ", 2},
        {"xread count 5 block 0 streams a b c d e f 0 0 0 0 0 0", "a b c d e f ", 6},
        {"xreadgroup group streams c noack streams a >", "a ", 1},
        {"xread streams a b 0", "", WEIR_EMALFORMED},
        {"xread count 1 block 0", "", WEIR_EMALFORMED},
        {"migrate h 1 k 0 9 copy", "k ", 1},
        {"migrate h 1 '' 0 9 auth2 keys keys keys a b", "a b ", 2},
        {"xgroup create k g $", "k ", 1},
        {"xgroup help", "", 0},
        {"xgroup create", "", WEIR_EMALFORMED},
        {"object encoding k", "k ", 1},
        {"object help", "", 0},
        {"memory usage k", "k ", 1},
        {"memory doctor", "", 0},
        {"get", "", WEIR_EMALFORMED},
        {"get a b", "", WEIR_EMALFORMED},
        {"ping", "", 0},
        {"nonsense a b", "", 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct joined joined;
        if (keys_of(rows[i].line, &joined) != rows[i].count ||
            strcmp(joined.text, rows[i].keys) != 0)
            fail_msg("%s: got \"%s\"", rows[i].line, joined.text);
    }
}

static void test_shape_of_a_request(void **state)
{
    (void)state;
    struct resp_request request = {.argc = 2};
    assert_int_equal(command_shape(of("lpop"), &request), RESP2_PLAIN);
    request.argc = 3;
    assert_int_equal(command_shape(of("lpop"), &request), RESP2_NULL_ARRAY);
    assert_int_equal(command_shape(of("rpop"), &request), RESP2_NULL_ARRAY);
    assert_int_equal(command_shape(of("zrange"), &request), RESP2_FLAT_PAIRS);
    assert_int_equal(command_shape(of("exec"), &request), RESP2_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_name_is_found),
        cmocka_unit_test(test_other_names_are_unknown),
        cmocka_unit_test(test_unknown_is_a_private_write),
        cmocka_unit_test(test_classification_keeps_its_rules),
        cmocka_unit_test(test_routes_that_matter),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_shape_of_a_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
