#include "config/address.h"
#include "config/suggest.h"
#include "config/value.h"
#include "config_test.h"

static void sizes(void **state)
{
    (void)state;
    const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},           {"1", 1},
                {"7b", 7},          {"1k", 1000},
                {"1kb", 1024},      {"1KB", 1024},
                {"3m", 3000000},    {"3mb", 3 << 20},
                {"1g", 1000000000}, {"2gb", 2ull << 30},
                {"1tb", 1ull << 40}};
    const char *bad[] = {"", "-1", "1.5gb", "kb", "1 kb", "1kbb", "0x10", "+1", "1e3", "1gib"};
    uint64_t bytes = 42;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(value_size_parse(good[i].text, &bytes), 0);
        assert_true(bytes == good[i].bytes);
    }
    bytes = 42;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(value_size_parse(bad[i], &bytes), WEIR_EMALFORMED);
    assert_int_equal(value_size_parse("18446744073709551616", &bytes), WEIR_ERANGE);
    assert_int_equal(value_size_parse("17179869184gb", &bytes), WEIR_ERANGE);
    assert_int_equal(bytes, 42);
    assert_int_equal(value_size_parse("18446744073709551615", &bytes), 0);
    assert_true(bytes == UINT64_MAX);
}

static void durations(void **state)
{
    (void)state;
    uint64_t ms = 0;
    assert_int_equal(value_duration_parse("3", &ms), 0);
    assert_int_equal(ms, 3000);
    assert_int_equal(value_duration_parse("3ms", &ms), 0);
    assert_int_equal(ms, 3);
    assert_int_equal(value_duration_parse("2M", &ms), 0);
    assert_int_equal(ms, 120000);
    assert_int_equal(value_duration_parse("1d", &ms), 0);
    assert_int_equal(ms, 86400000);
    assert_int_equal(value_duration_parse("1us", &ms), WEIR_EMALFORMED);
}

// Whatever is printed reads back as the same number, from every magnitude.
static void printed_reads_back(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < 20000; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        uint64_t value = seed >> (i % 64), units[] = {1, 1024, 1 << 20, 1000, 60000, 3600000};
        value -= value % units[i % 6];
        char out[64];
        struct print text = {out, sizeof(out), 0};
        uint64_t back = 0;
        value_size_print(&text, value);
        assert_int_equal(value_size_parse(out, &back), 0);
        assert_true(back == value);
        text.size = 0;
        value_duration_print(&text, value);
        assert_int_equal(value_duration_parse(out, &back), 0);
        assert_true(back == value);
    }
}

static void distances(void **state)
{
    (void)state;
    assert_int_equal(suggest_distance("", ""), 0);
    assert_int_equal(suggest_distance("abc", ""), 3);
    assert_int_equal(suggest_distance("memroy", "memory"), 1);
    assert_int_equal(suggest_distance("MEMORY", "memory"), 0);
    assert_int_equal(suggest_distance("kitten", "sitting"), 3);
    assert_int_equal(suggest_distance("ca", "abc"), 3); // one swap or edit at each place
    const char *best = NULL;
    suggest_offer("xyzzy", "memory", &best);
    assert_null(best);
    suggest_offer("tcpbacklog", "tcp-keepalive", &best);
    suggest_offer("tcpbacklog", "tcp-backlog", &best);
    assert_string_equal(best, "tcp-backlog");
    best = NULL;
    suggest_offer("a", "b", &best); // nothing in common
    assert_null(best);
    char longest[200];
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    suggest_offer(longest, "memory", &best);
    suggest_offer("memory", longest, &best);
    assert_null(best);
}

static void addresses(void **state)
{
    (void)state;
    char out[CONFIG_TEXT], reason[CONFIG_REASON];
    const char *good[][2] = {
        {"127.0.0.1:1", "127.0.0.1:1"},
        {"localhost:65535", "localhost:65535"},
        {"[::1]:0", "[::1]:0"},
        {"[fe80::1%eth0]:7", "[fe80::1%eth0]:7"},
        {"unix:/a b", "unix:/a b"},
        {"unix:///run/x", "unix:/run/x"},
        {"h_1.example-2:007", "h_1.example-2:7"},
    };
    const char *bad[] = {
        "",      "6380",     ":6380",  "*:6380",    "a",          "a:",   "a:b",   "a:65536",
        "a:-1",  "::1:6380", "[::1]",  "[::1]6380", "[::1:6380",  "[]:1", "a b:1", "a/b:1",
        "unix:", "unix:a",   "/run/x", "a:1:2",     "unix:/a\nb", "a:1 "};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(address_parse(good[i][0], ADDRESS_LISTEN, out, reason), 0);
        assert_string_equal(out, good[i][1]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        reason[0] = '\0';
        if (address_parse(bad[i], ADDRESS_LISTEN, out, reason) != WEIR_EMALFORMED)
            fail_msg("'%s' was taken", bad[i]);
        assert_true(reason[0] != '\0');
    }
    assert_int_equal(address_parse("6380", ADDRESS_LISTEN, out, reason), WEIR_EMALFORMED);
    assert_string_equal(reason, "the host is missing: write 127.0.0.1:6380 for this machine only, "
                                "or 0.0.0.0:6380 for every interface");
}

static void urls(void **state)
{
    (void)state;
    char reason[CONFIG_REASON], shown[CONFIG_TEXT * 4];
    struct config_store store;
    const struct {
        const char *url, *address, *user, *password, *revealed;
        unsigned db;
    } good[] = {
        {"redis://h", "h:6379", "", "", "redis://h:6379", 0},
        {"REDIS://h:1/", "h:1", "", "", "redis://h:1", 0},
        {"redis://:p@[::1]:7/15", "[::1]:7", "", "p", "redis://:p@[::1]:7/15", 15},
        {"redis://u:a%3Ab%40%2f@h", "h:6379", "u", "a:b@/", "redis://u:a%3Ab%40%2F@h:6379", 0},
        {"redis://u@h", "h:6379", "u", "", "redis://u@h:6379", 0},
        {"redis://u:p@q@h", "h:6379", "u", "p@q", "redis://u:p%40q@h:6379", 0},
        {"unix:/run/r.sock", "unix:/run/r.sock", "", "", "unix:/run/r.sock", 0},
        {"unix:/run/r.sock?db=2", "unix:/run/r.sock", "", "", "unix:/run/r.sock?db=2", 2},
        {"unix://u:p@/r", "unix:/r", "u", "p", "unix://u:p@/r", 0},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(store_url_parse(good[i].url, &store, reason), 0);
        assert_string_equal(store.address, good[i].address);
        assert_string_equal(store.user, good[i].user);
        assert_string_equal(store.password, good[i].password);
        assert_int_equal(store.db, good[i].db);
        struct print text = {shown, sizeof(shown), 0};
        store_url_print(&store, STORE_REVEALED, &text);
        assert_string_equal(shown, good[i].revealed);
    }
    const char *bad[] = {"",
                         "h:6379",
                         "redis://",
                         "redis:///1",
                         "redis://h/16",
                         "redis://h/x",
                         "redis://h:0",
                         "redis://h:x",
                         "redis://h?a=b",
                         "redis://h#f",
                         "redis://u:%@h",
                         "redis://u:%0@h",
                         "redis://u:%zz@h",
                         "redis://u:%00@h",
                         "unix:relative",
                         "unix:/r?database=1",
                         "unix:/r?db=16",
                         "http://h",
                         "://h",
                         "redis://a/b@h"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (store_url_parse(bad[i], &store, reason) != WEIR_EMALFORMED)
            fail_msg("'%s' was taken", bad[i]);
    const char *later[] = {"rediss://h", "redis+cluster://a,b", "redis+sentinel://a/m",
                           "memcached://a,b"};
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
        assert_int_equal(store_url_parse(later[i], &store, reason), WEIR_EMALFORMED);
        assert_non_null(strstr(reason, "is not supported in this version"));
    }
}

// 256 random bytes as a password survive being printed and read.
static void any_password(void **state)
{
    (void)state;
    char reason[CONFIG_REASON], shown[CONFIG_TEXT * 4];
    struct config_store store = {.address = "h:1"}, back;
    unsigned seed = 7;
    for (int round = 0; round < 2000; round++) {
        size_t size = (size_t)rand_r(&seed) % (CONFIG_TEXT - 1) + 1;
        for (size_t i = 0; i < size; i++)
            store.password[i] = (char)(rand_r(&seed) % 255 + 1);
        store.password[size] = '\0';
        struct print text = {shown, sizeof(shown), 0};
        store_url_print(&store, STORE_REVEALED, &text);
        assert_int_equal(store_url_parse(shown, &back, reason), 0);
        assert_string_equal(back.password, store.password);
        text.size = 0;
        store_url_print(&store, STORE_MASKED, &text);
        assert_string_equal(shown, "redis://:***@h:1");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),        cmocka_unit_test(durations),
        cmocka_unit_test(distances),    cmocka_unit_test(printed_reads_back),
        cmocka_unit_test(addresses),    cmocka_unit_test(urls),
        cmocka_unit_test(any_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
