#include "observe/stats.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROOM = 256 * 1024 };

static void fill_view(struct histogram_view *view, uint64_t ns, uint64_t times)
{
    struct histogram h = {0};
    histogram_add(&h, ns, times);
    histogram_merge(view, &h);
}

static struct stats *make_stats(void)
{
    struct stats *s = calloc(1, sizeof *s);
    s->uptime_s = 61;
    s->threads = 2;
    s->thread_busy[0] = .5;
    s->thread_busy[1] = .25;
    s->ready = true;
    strcpy(s->version, "0.1.0");
    strcpy(s->listen, "127.0.0.1:6380");
    strcpy(s->cache_state, "on");
    for (unsigned i = 0; i < METRIC_COUNT; i++)
        s->metric[i] = 1000 + i;
    s->metric[METRIC_cache_hits_total] = 90;
    s->metric[METRIC_cache_misses_total] = 8;
    s->metric[METRIC_cache_joined_total] = 2;
    s->memory_limit = 1 << 28;
    s->memory_parts = 1;
    s->memory[0] = (struct stats_memory_part){"cache log", 111, 222};
    s->nodes = 1;
    strcpy(s->node[0].name, "127.0.0.1:6379");
    strcpy(s->node[0].state, "up");
    strcpy(s->node[0].cache_state, "on");
    s->node[0].vouched_age_ms = 1234;
    fill_view(&s->latency_hit, 2000, 99);
    fill_view(&s->latency_hit, 2000000, 1);
    return s;
}

static bool has_line(const char *text, const char *line)
{
    size_t size = strlen(line);
    for (const char *at = text; (at = strstr(at, line)); at++) {
        bool begins = at == text || at[-1] == '\n';
        if (begins && (at[size] == '\r' || at[size] == '\n'))
            return true;
    }
    return false;
}

static char *info_of(const struct stats *s)
{
    char *out = malloc(ROOM);
    size_t size = stats_render_info(s, out, ROOM);
    assert_true(size > 0 && size <= 8192);
    out[size] = 0;
    return out;
}

static void test_info_names_everything(void **state)
{
    (void)state;
    struct stats *s = make_stats();
    char *text = info_of(s);
    assert_memory_equal(text, "# Weir\r\n", 8);
    assert_true(has_line(text, "weir_version:0.1.0"));
    assert_true(has_line(text, "weir_uptime_in_seconds:61"));
    assert_true(has_line(text, "thread_busy:0.50,0.25"));
    assert_true(has_line(text, "hit_ratio:0.9000"));
    assert_true(has_line(text, "cache_state:on"));
    assert_true(has_line(text, "memory_cache_log:used=111,total=222"));
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        char line[128];
        snprintf(line, sizeof line, "%s:%llu", metric_info(i)->name,
                 (unsigned long long)s->metric[i]);
        assert_true(has_line(text, line));
    }
    assert_non_null(strstr(text, "node0:name=127.0.0.1:6379,state=up,cache=on,"));
    assert_non_null(strstr(text, "latency_hit_usec:p50=2.0,p99="));
    free(text);
    free(s);
}

static void test_info_survives_hostile_words(void **state)
{
    (void)state;
    struct stats *s = make_stats();
    strcpy(s->node[0].cache_state, "off: ERR a=b,c\r\nevil:1");
    char *text = info_of(s);
    assert_false(has_line(text, "evil:1"));
    assert_non_null(strstr(text, "cache=off: ERR a:b;c  evil:1,version="));
    free(text);
    free(s);
}

// Whatever the room, whole lines and nothing beyond it; with the most nodes, at most 8 KiB.
static void test_info_stays_in_its_room(void **state)
{
    (void)state;
    struct stats *s = make_stats();
    s->nodes = STATS_NODES;
    for (unsigned i = 1; i < STATS_NODES; i++)
        s->node[i] = s->node[0];
    char *full = info_of(s);
    char *out = malloc(8400);
    for (size_t room = 0; room < 8300; room += 13) {
        memset(out, '~', 8400);
        size_t size = stats_render_info(s, out, room);
        assert_true(size <= room);
        assert_true(size == 0 || out[size - 1] == '\n');
        assert_memory_equal(out, full, size);
        assert_int_equal(out[room], '~');
    }
    free(out);
    free(full);
    free(s);
}

static char *prometheus_of(const struct stats *s, const struct stats_latency *l, size_t count)
{
    char *out = malloc(ROOM);
    size_t size = stats_render_prometheus(s, l, count, out, ROOM);
    assert_true(size > 0 && size < ROOM);
    assert_int_equal(strlen(out), size);
    return out;
}

static void test_prometheus_values(void **state)
{
    (void)state;
    struct stats *s = make_stats();
    char *text = prometheus_of(s, NULL, 0);
    assert_true(has_line(text, "weir_build_info{version=\"0.1.0\"} 1"));
    assert_true(has_line(text, "weir_cache_hits_total 90"));
    assert_true(has_line(text, "# TYPE weir_cache_hits_total counter"));
    assert_true(has_line(text, "# TYPE weir_clients gauge"));
    assert_true(has_line(text, "weir_memory_bytes{part=\"cache log\",kind=\"used\"} 111"));
    assert_true(has_line(text, "weir_memory_limit_bytes 268435456"));
    assert_true(has_line(text, "weir_node_up{node=\"127.0.0.1:6379\"} 1"));
    assert_true(has_line(text, "weir_node_vouched_age_seconds{node=\"127.0.0.1:6379\"} 1.234"));
    free(text);
    free(s);
}

static void test_prometheus_escapes_labels(void **state)
{
    (void)state;
    struct stats *s = make_stats();
    strcpy(s->node[0].name, "unix:/a\"b\\c\nd\xc3\xa9");
    char *text = prometheus_of(s, NULL, 0);
    assert_true(has_line(text, "weir_node_up{node=\"unix:/a\\\"b\\\\c\\nd%C3%A9\"} 1"));
    free(text);
    free(s);
}

static void test_prometheus_buckets(void **state)
{
    (void)state;
    struct stats *s = make_stats();
    struct stats_latency *l = calloc(1, sizeof *l);
    l->command = "get";
    l->node = "cache";
    fill_view(&l->view, 1000, 10);      // below 1.024 µs
    fill_view(&l->view, 1024, 20);      // at it: above
    fill_view(&l->view, 1000000, 30);   // 1 ms
    fill_view(&l->view, 1ull << 38, 1); // beyond all
    char *text = prometheus_of(s, l, 1);
    const char *p =
        "weir_command_duration_seconds_bucket{command=\"get\",node=\"cache\",le=\"%s\"} %d";
    static const struct {
        const char *le;
        int count;
    } expected[] = {{"0.000001024", 10}, {"0.000002048", 30},  {"0.000524288", 30},
                    {"0.001048576", 60}, {"34.359738368", 60}, {"+Inf", 61}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        char line[256];
        snprintf(line, sizeof line, p, expected[i].le, expected[i].count);
        assert_true(has_line(text, line));
    }
    assert_true(
        has_line(text, "weir_command_duration_seconds_count{command=\"get\",node=\"cache\"} 61"));
    free(text);
    free(l);
    free(s);
}

// As snprintf: the same answer whatever the room, and never a byte beyond it.
static void test_prometheus_room(void **state)
{
    (void)state;
    struct stats *s = make_stats();
    char *full = prometheus_of(s, NULL, 0);
    size_t needed = strlen(full);
    char *out = malloc(ROOM);
    assert_int_equal(stats_render_prometheus(s, NULL, 0, NULL, 0), needed);
    for (size_t room = 1; room < needed + 50; room += 97) {
        memset(out, '~', room + 1);
        assert_int_equal(stats_render_prometheus(s, NULL, 0, out, room), needed);
        assert_int_equal(out[room], '~');
        assert_memory_equal(out, full, room - 1 < needed ? room - 1 : needed);
    }
    free(out);
    free(full);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info_names_everything),
        cmocka_unit_test(test_info_survives_hostile_words),
        cmocka_unit_test(test_info_stays_in_its_room),
        cmocka_unit_test(test_prometheus_values),
        cmocka_unit_test(test_prometheus_escapes_labels),
        cmocka_unit_test(test_prometheus_buckets),
        cmocka_unit_test(test_prometheus_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
