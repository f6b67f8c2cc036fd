// The admin side against a fake proxy. `test_admin --serve ADDRESS [SCENE]` serves it until its
// standard input ends, for test/integration/test_admin.py and for looking at the page.
#include "admin/admin.h"
#include "admin/host.h"
#include "admin/internal.h"
#include "base/err.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_proxy.c"

// ---- Host
// ----------------------------------------------------------------------------------------

static bool allowed(const char *listener, const char *host)
{
    struct net_address address;
    assert_int_equal(net_address_parse(&address, listener, 6381), 0);
    return host_allowed(&address, host);
}

static void test_host_names(void **state)
{
    (void)state;
    static const char *const good[] = {"localhost:6381", "LOCALHOST:6381", "127.0.0.1:6381",
                                       "[::1]:6381"};
    static const char *const bad[] = {"",          "localhost",        "localhost:80",
                                      "evil:6381", "127.0.0.1:6382",   "127.0.0.1:63811",
                                      "::1:6381",  "a.localhost:6381", "localhost:6381.evil"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(allowed("127.0.0.1:6381", good[i]));
        assert_true(allowed("[::1]:6381", good[i]));
        assert_true(allowed("localhost", good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(allowed("127.0.0.1:6381", bad[i]));
        assert_false(allowed("[::1]:6381", bad[i]));
    }
    assert_true(allowed("127.0.0.1:6381", NULL));
    assert_true(allowed("127.0.0.1:80", "localhost"));
    assert_true(allowed("127.0.0.1:80", "[::1]"));
    assert_true(allowed("127.0.3.4:6381", "127.0.3.4:6381"));
    assert_true(allowed("0.0.0.0:6381", "weir.example:6381"));
    assert_true(allowed("unix:/tmp/x", "anything"));
}

// ---- history
// -------------------------------------------------------------------------------------

static void test_history_rates(void **state)
{
    (void)state;
    struct history *h = calloc(1, sizeof *h);
    struct stats *s = calloc(1, sizeof *s);
    s->metric[METRIC_requests_total] = 1000000; // before the first look: nobody's second
    s->latency_hit.cell[20] = 500;
    history_add(h, s, 1000000000);
    assert_null(history_next(h, 0));
    s->metric[METRIC_requests_total] += 300;
    s->metric[METRIC_cache_hits_total] += 80;
    s->metric[METRIC_cache_misses_total] += 20;
    s->metric[METRIC_clients] = 7;
    s->latency_hit.cell[20] += 90;
    s->latency_store.cell[200] += 10;
    history_add(h, s, 3000000000);
    const struct history_sample *one = history_next(h, 0);
    assert_non_null(one);
    assert_int_equal(one->seq, 1);
    assert_int_equal(one->requests, 150);
    assert_int_equal(one->reads, 50);
    assert_int_equal(one->hits, 40);
    assert_int_equal(one->clients, 7);
    assert_int_equal(one->heat[20 / HISTORY_CELLS], 90);
    assert_int_equal(one->heat[200 / HISTORY_CELLS], 10);
    assert_true(one->p50_ns <= histogram_bound(20));
    assert_true(one->p99_ns > histogram_bound(199));
    assert_null(history_next(h, 1));
    free(s);
    free(h);
}

static void test_history_wraps(void **state)
{
    (void)state;
    struct history *h = calloc(1, sizeof *h);
    struct stats *s = calloc(1, sizeof *s);
    for (uint64_t i = 0; i <= 3 * HISTORY_SECONDS; i++) {
        s->metric[METRIC_clients] = i;
        history_add(h, s, (i + 1) * 1000000000);
    }
    uint64_t since = 0, count = 0;
    const struct history_sample *sample;
    while ((sample = history_next(h, since))) {
        assert_int_equal(sample->clients, sample->seq);
        since = sample->seq;
        count++;
    }
    assert_int_equal(count, HISTORY_SECONDS);
    assert_int_equal(since, 3 * HISTORY_SECONDS);
    free(s);
    free(h);
}

static void test_history_survives_a_counter_that_falls(void **state)
{
    (void)state;
    struct history *h = calloc(1, sizeof *h);
    struct stats *s = calloc(1, sizeof *s);
    s->metric[METRIC_requests_total] = 100;
    history_add(h, s, 1000);
    s->metric[METRIC_requests_total] = 50;
    history_add(h, s, 1000); // and a clock that stands
    assert_int_equal(history_next(h, 0)->requests, 0);
    free(s);
    free(h);
}

// ---- JSON
// ----------------------------------------------------------------------------------------

static struct admin *make_admin(enum fake_scene scene)
{
    struct admin *admin = calloc(1, sizeof *admin);
    admin->proxy = fake_proxy_create(scene);
    pthread_mutex_init(&admin->lock, NULL);
    return admin;
}

static void free_admin(struct admin *admin)
{
    fake_proxy_destroy(admin->proxy);
    pthread_mutex_destroy(&admin->lock);
    free(admin);
}

// The worst that can be shown fits an answer.
static void test_stats_fit_an_answer(void **state)
{
    (void)state;
    struct admin *admin = make_admin(FAKE_CALM);
    struct proxy *p = admin->proxy;
    p->stats.nodes = STATS_NODES;
    for (uint64_t second = 1; second <= HISTORY_SECONDS + 1; second++) {
        struct stats *s = &admin->sampled;
        s->metric[METRIC_requests_total] += 99999999;
        for (unsigned i = 0; i < HISTOGRAM_CELLS; i++)
            s->latency_store.cell[i] += 12345678;
        history_add(&admin->history, s, second * 1000000000);
    }
    json_t *root = api_stats(admin, 0);
    json_t *commands = json_object_get(root, "commands");
    json_t *nodes = json_object_get(root, "nodes");
    while (json_array_size(commands) < ADMIN_LATENCIES)
        json_array_append(commands, json_array_get(commands, 0));
    while (json_array_size(nodes) < STATS_NODES)
        json_array_append(nodes, json_array_get(nodes, 0));
    assert_int_equal(json_array_size(json_object_get(root, "history")), HISTORY_SECONDS);
    size_t size = json_dumpb(root, NULL, 0, JSON_COMPACT | JSON_REAL_PRECISION(6));
    assert_true(size > 100000 && size < ADMIN_ANSWER_BYTES);
    json_decref(root);
    free_admin(admin);
}

static void test_slowlog_arguments(void **state)
{
    (void)state;
    struct admin *admin = make_admin(FAKE_CALM);
    json_t *root = api_slowlog(admin);
    json_t *entries = json_object_get(root, "entries");
    assert_int_equal(json_array_size(entries), 3);
    json_t *cut = json_object_get(json_array_get(entries, 2), "args");
    assert_int_equal(json_array_size(cut), 3);
    assert_string_equal(json_string_value(json_array_get(cut, 1)), "k\\xff\\x0d\\x0a\\x01");
    assert_string_equal(json_string_value(json_array_get(cut, 2)), "xxxxxxxx");
    json_t *auth = json_object_get(json_array_get(entries, 1), "args");
    assert_string_equal(json_string_value(json_array_get(auth, 0)), "AUTH");
    assert_string_equal(json_string_value(json_array_get(auth, 2)), "***");
    json_decref(root);
    free_admin(admin);
}

// A frame cut at each byte never reads beyond what was kept (the sanitizer's part of the test).
static void test_slowlog_cut_everywhere(void **state)
{
    (void)state;
    struct admin *admin = make_admin(FAKE_CALM);
    static const char frame[] = "*3\r\n$3\r\nset\r\n$99999999999999999999\r\nabc\r\n$0\r\n\r\n";
    for (unsigned size = 0; size < sizeof frame; size++) {
        struct slowlog_entry e = {.args_size = size};
        memcpy(e.args, frame, size);
        slowlog_add(admin->proxy->slowlog, &e);
        json_t *root = api_slowlog(admin);
        assert_non_null(root);
        json_decref(root);
    }
    free_admin(admin);
}

static void test_config_hides_passwords(void **state)
{
    (void)state;
    struct admin *admin = make_admin(FAKE_CALM);
    json_t *root = api_config(admin);
    char *text = json_dumps(root, 0);
    assert_non_null(strstr(text, "\"requirepass\""));
    assert_null(strstr(text, "geheim"));
    assert_null(strstr(text, "hunter2"));
    free(text);
    json_decref(root);
    free_admin(admin);
}

// ---- life
// ----------------------------------------------------------------------------------------

static void test_start_off_and_refusals(void **state)
{
    (void)state;
    struct proxy *p = fake_proxy_create(FAKE_IDLE);
    char error[CONFIG_ERROR] = "";
    struct admin *admin = (struct admin *)8;
    assert_int_equal(admin_start(&admin, p, "off", error), 0);
    assert_null(admin);
    admin_stop(&admin);
    assert_int_equal(admin_start(&admin, p, "127.0.0.1:nonsense", error), WEIR_EINVAL);
    assert_non_null(strstr(error, "HOST:PORT"));
    assert_true(admin_start(&admin, p, "unix:/nonexistent/dir/weir.sock", error) < 0);
    assert_non_null(strstr(error, "/nonexistent/dir/weir.sock"));
    assert_null(admin);
    fake_proxy_destroy(p);
}

static void test_unix_socket_life(void **state)
{
    (void)state;
    struct proxy *p = fake_proxy_create(FAKE_IDLE);
    char error[CONFIG_ERROR] = "", path[64], address[80];
    struct admin *admin = NULL, *second = NULL;
    struct stat info;
    snprintf(path, sizeof path, "/tmp/test_admin.%d.sock", (int)getpid());
    snprintf(address, sizeof address, "unix:%s", path);
    assert_int_equal(admin_start(&admin, p, address, error), 0);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0660);
    assert_true(admin_start(&second, p, address, error) < 0);
    assert_int_equal(stat(path, &info), 0); // the first one's socket is still there
    admin_stop(&admin);
    assert_null(admin);
    assert_int_not_equal(stat(path, &info), 0);
    fake_proxy_destroy(p);
}

static void test_port_zero_is_filled_in(void **state)
{
    (void)state;
    struct proxy *p = fake_proxy_create(FAKE_IDLE);
    char error[CONFIG_ERROR] = "";
    struct admin *admin = NULL;
    assert_int_equal(admin_start(&admin, p, "127.0.0.1:0", error), 0);
    assert_int_not_equal(admin->address.port, 0);
    admin_stop(&admin);
    fake_proxy_destroy(p);
}

static int serve(const char *address, const char *scene)
{
    static const char *const names[] = {"calm", "down", "cache-off", "idle"};
    enum fake_scene chosen = FAKE_CALM;
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(scene, names[i]) == 0)
            chosen = (enum fake_scene)i;
    }
    struct proxy *p = fake_proxy_create(chosen);
    struct admin *admin = NULL;
    char error[CONFIG_ERROR];
    if (admin_start(&admin, p, address, error) != 0) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    printf("serving\n");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    admin_stop(&admin);
    fake_proxy_destroy(p);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "--serve") == 0)
        return serve(argv[2], argc > 3 ? argv[3] : "calm");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_names),
        cmocka_unit_test(test_history_rates),
        cmocka_unit_test(test_history_wraps),
        cmocka_unit_test(test_history_survives_a_counter_that_falls),
        cmocka_unit_test(test_stats_fit_an_answer),
        cmocka_unit_test(test_slowlog_arguments),
        cmocka_unit_test(test_slowlog_cut_everywhere),
        cmocka_unit_test(test_config_hides_passwords),
        cmocka_unit_test(test_start_off_and_refusals),
        cmocka_unit_test(test_unix_socket_life),
        cmocka_unit_test(test_port_zero_is_filled_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
