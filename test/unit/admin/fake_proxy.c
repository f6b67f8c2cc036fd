// A proxy that only reports: numbers that move like a small shop's traffic, so that the admin side
// and its page can be tested without one. Included by the test program.
#include "base/err.h"
#include "loop/clock.h"
#include "proxy/proxy.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum fake_scene { FAKE_CALM, FAKE_DOWN, FAKE_CACHE_OFF, FAKE_IDLE };

enum { FAKE_COMMANDS = 10 };

struct proxy {
    pthread_mutex_t lock;
    enum fake_scene scene;
    uint64_t started_ns, then_ns, random;
    struct stats stats;
    struct slowlog *slowlog;
    struct histogram by_command[FAKE_COMMANDS];
    struct histogram hit, store;
};

static const struct {
    const char *command, *node;
    double per_second, median_us, spread;
} fake_commands[FAKE_COMMANDS] = {
    {"get", "cache", 61000, 0.9, .35},          {"get", "127.0.0.1:6379", 2100, 92, .5},
    {"hgetall", "cache", 9000, 1.8, .4},        {"hgetall", "127.0.0.1:6379", 420, 130, .5},
    {"set", "127.0.0.1:6379", 1900, 96, .45},   {"mget", "cache", 1200, 4.2, .5},
    {"incr", "127.0.0.1:6379", 800, 88, .4},    {"zrange", "127.0.0.1:6379", 140, 210, .7},
    {"evalsha", "127.0.0.1:6379", 22, 900, .9}, {"del", "127.0.0.1:6379", 60, 99, .5},
};

static double fake_random(struct proxy *p) // 0 … 1
{
    p->random ^= p->random << 13;
    p->random ^= p->random >> 7;
    p->random ^= p->random << 17;
    return (double)(p->random >> 11) / 9007199254740992.0;
}

static double fake_exp(double x) // (1 + x/1024)^1024: near enough, and no libm
{
    double value = 1 + x / 1024;
    for (int i = 0; i < 10; i++)
        value *= value;
    return value;
}

static double fake_rest(double x, double period)
{
    return x - period * (double)(uint64_t)(x / period);
}

static double fake_wave(double x) // a sine made of two parabolas
{
    double t = fake_rest(x, 6.2832) / 3.1416;
    return t < 1 ? 4 * t * (1 - t) : -4 * (t - 1) * (2 - t);
}

static double fake_normal(struct proxy *p)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += fake_random(p);
    return sum - 6;
}

static void fake_slow(struct proxy *p, double us, const char *frame)
{
    struct slowlog_entry e = {.wall_us = clock_wall_us(), .duration_us = (uint64_t)us, .argc = 3};
    e.args_size = (uint32_t)strlen(frame);
    memcpy(e.args, frame, e.args_size);
    snprintf(e.client, sizeof e.client, "10.1.4.%d:%d", (int)(fake_random(p) * 40) + 2,
             (int)(fake_random(p) * 20000) + 40000);
    snprintf(e.name, sizeof e.name, "checkout");
    snprintf(e.where, sizeof e.where, "127.0.0.1:6379");
    slowlog_add(p->slowlog, &e);
}

// Traffic swings over two minutes; every 95 s the store is slow for 9 s.
static void fake_commands_advance(struct proxy *p, double seconds, double at)
{
    double swing = 1 + .25 * fake_wave(at / 19) + .06 * fake_normal(p);
    bool slow = fake_rest(at, 95) > 60 && fake_rest(at, 95) < 69;
    for (unsigned i = 0; i < FAKE_COMMANDS; i++) {
        bool hit = strcmp(fake_commands[i].node, "cache") == 0;
        double count = fake_commands[i].per_second * seconds * swing;
        if ((hit && p->scene == FAKE_CACHE_OFF) || (!hit && p->scene == FAKE_DOWN))
            continue;
        for (int s = 0; s < 160; s++) {
            double us =
                fake_commands[i].median_us * fake_exp(fake_commands[i].spread * fake_normal(p));
            if (fake_random(p) < .012)
                us *= 6 + 30 * fake_random(p);
            if (slow && !hit)
                us *= 9;
            uint64_t times = (uint64_t)(count / 160 + fake_random(p));
            histogram_add(&p->by_command[i], (uint64_t)(us * 1000), times);
            histogram_add(hit ? &p->hit : &p->store, (uint64_t)(us * 1000), times);
            p->stats.metric[METRIC_requests_total] += times;
            if (hit)
                p->stats.metric[METRIC_cache_hits_total] += times;
            else
                p->stats.metric[METRIC_store_requests_total] += times;
            if (!hit && i < 4)
                p->stats.metric[METRIC_cache_misses_total] += times;
        }
    }
    if (slow && fake_random(p) < .7)
        fake_slow(p, 11000 + 30000 * fake_random(p),
                  "*3\r\n$7\r\nevalsha\r\n$40\r\n6b1bf486c81ceb7edf3c093f4c48582e38c0e791\r\n$"
                  "1\r\n2\r\n");
}

static void fake_fill(struct proxy *p, double at)
{
    struct stats *s = &p->stats;
    uint64_t *m = s->metric;
    s->seq++;
    s->now_wall_us = clock_wall_us();
    s->uptime_s = (uint64_t)at + 93000;
    snprintf(s->version, sizeof s->version, "0.1.0");
    snprintf(s->listen, sizeof s->listen, "127.0.0.1:6380");
    s->threads = 2;
    s->thread_busy[0] = .31 + .08 * fake_wave(at / 19);
    s->thread_busy[1] = .27 + .08 * fake_wave(at / 17);
    s->ready = p->scene != FAKE_DOWN;
    snprintf(s->cache_state, sizeof s->cache_state, "%s",
             p->scene == FAKE_CACHE_OFF ? "off: the store is 6.0.16; 7.0.5 or newer is needed"
                                        : "on");
    m[METRIC_clients] = p->scene == FAKE_IDLE ? 0 : (uint64_t)(212 + 20 * fake_wave(at / 23));
    m[METRIC_clients_blocked] = 4;
    s->cache_items = 812345 + (uint64_t)(9000 * fake_wave(at / 40));
    s->cache_item_bytes = 141 << 20;
    s->cache_evictions = (uint64_t)(at * 260);
    s->cache_dead_bytes = 6 << 20;
    s->memory_limit = 256ull << 20;
    s->rss = (231ull << 20) + (uint64_t)(fake_wave(at / 11) * (1 << 20));
    s->rss_peak = 234ull << 20;
    s->memory_parts = 5;
    s->memory[0] = (struct stats_memory_part){"cache log", 158ull << 20, 172ull << 20};
    s->memory[1] = (struct stats_memory_part){"cache index", 9ull << 20, 16ull << 20};
    s->memory[2] = (struct stats_memory_part){"buffers", 3ull << 20, 40ull << 20};
    s->memory[3] = (struct stats_memory_part){"stacks", 300 << 10, 2ull << 20};
    s->memory[4] = (struct stats_memory_part){"control", 5ull << 20, 12ull << 20};
    s->nodes = 1;
    struct stats_node *n = &s->node[0];
    snprintf(n->name, sizeof n->name, "127.0.0.1:6379");
    snprintf(n->state, sizeof n->state, "%s", p->scene == FAKE_DOWN ? "down" : "up");
    snprintf(n->version, sizeof n->version, "%s", p->scene == FAKE_CACHE_OFF ? "6.0.16" : "7.0.15");
    snprintf(n->role, sizeof n->role, "master");
    snprintf(n->cache_state, sizeof n->cache_state, "%s", s->cache_state);
    if (p->scene == FAKE_DOWN)
        snprintf(n->cache_state, sizeof n->cache_state, "off: connection refused, trying again");
    n->lanes = 1;
    n->in_flight = (uint64_t)(6 + 5 * fake_random(p));
    n->reconnects = p->scene == FAKE_DOWN ? 14 : 1;
    n->requests_total = m[METRIC_store_requests_total];
    n->vouched_age_ms = p->scene == FAKE_DOWN ? 41000 : (uint64_t)(330 * fake_random(p));
}

static void fake_advance(struct proxy *p)
{
    uint64_t now = clock_now_ns();
    double seconds = (double)(now - p->then_ns) / 1e9;
    double at = (double)(now - p->started_ns) / 1e9;
    p->then_ns = now;
    if (p->scene != FAKE_IDLE)
        fake_commands_advance(p, seconds, at);
    if (p->scene == FAKE_DOWN)
        p->stats.metric[METRIC_store_errors_total] += (uint64_t)(5400 * seconds);
    fake_fill(p, at);
}

static struct proxy *fake_proxy_create(enum fake_scene scene)
{
    struct proxy *p = calloc(1, sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    p->scene = scene;
    p->random = 88172645463325252ull;
    p->started_ns = p->then_ns = clock_now_ns();
    slowlog_create(&p->slowlog);
    fake_slow(p, 21034, "*3\r\n$3\r\nset\r\n$5\r\nk\xff\r\n\x01\r\n$200000\r\nxxxxxxxx");
    fake_slow(p, 12345, "*3\r\n$4\r\nAUTH\r\n$5\r\nalice\r\n$6\r\nsecret\r\n");
    fake_slow(p, 48210,
              "*4\r\n$6\r\nzrange\r\n$16\r\nleaders:\xd0\xbc\xd0\xb8\xd1\x80:7\r\n$1\r\n0\r\n$"
              "2\r\n-1\r\n");
    return p;
}

static void fake_proxy_destroy(struct proxy *p)
{
    slowlog_destroy(&p->slowlog);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

// ---- what proxy/proxy.h promises of a report
// -------------------------------------------------------

void proxy_stats(struct proxy *p, struct stats *out)
{
    pthread_mutex_lock(&p->lock);
    fake_advance(p);
    *out = p->stats;
    histogram_merge(&out->latency_hit, &p->hit);
    histogram_merge(&out->latency_store, &p->store);
    pthread_mutex_unlock(&p->lock);
}

void proxy_latencies(struct proxy *p, void (*each)(void *context, const struct stats_latency *),
                     void *context)
{
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < FAKE_COMMANDS; i++) {
        struct stats_latency one = {.command = fake_commands[i].command,
                                    .node = fake_commands[i].node};
        histogram_merge(&one.view, &p->by_command[i]);
        if (one.view.count)
            each(context, &one);
    }
    pthread_mutex_unlock(&p->lock);
}

struct slowlog *proxy_slowlog(struct proxy *p)
{
    return p->slowlog;
}

bool proxy_ready(struct proxy *p, char why[CONFIG_TEXT])
{
    if (p->scene == FAKE_DOWN)
        snprintf(why, CONFIG_TEXT, "store 127.0.0.1:6379 is down: connection refused");
    return p->scene != FAKE_DOWN;
}

void proxy_config(struct proxy *p, struct config *out)
{
    char error[CONFIG_ERROR];
    (void)p;
    config_defaults(out);
    config_set(out, "fake", "requirepass", "geheim", error);
    config_set(out, "fake", "store", "redis://bob:hunter2@127.0.0.1:6379", error);
}
