// weir's proxy core on the simulated loop, network and clock.
#include "subject.h"
#include "base/err.h"
#include <assert.h>
#include "base/hash.h"
#include "base/log.h"
#include "proxy/core.h"
#include "proxy/request.h"
#include "world.h"

const char *const fault_names[FAULT_KINDS] = {"split", "lane reset", "lane eof", "black hole",
                                              "restart", "refused", "no blocks", "client gone"};

struct subject {
    struct proxy *proxy;
};

struct subject *subject_create(const struct subject_options *options)
{
    static struct config config;
    char error[CONFIG_ERROR];
    log_open(NULL, LOG_ERROR);
    if (getenv("SIM_LOG") != NULL)
        log_set_level(LOG_INFO);
    hash_seed(42);
    config_defaults(&config);
    config.listens = 1;
    snprintf(config.listen[0].address, CONFIG_TEXT, "127.0.0.1:%u", options->port);
    config.store_set = true;
    snprintf(config.store.address, CONFIG_TEXT, "127.0.0.1:%u", options->store_port);
    snprintf(config.store.name, CONFIG_TEXT, "127.0.0.1:%u", options->store_port);
    snprintf(config.admin, CONFIG_TEXT, "off");
    config.memory_bytes = 64 << 20;
    config.threads = options->threads;
    config.cache = options->cache;
    config.maxclients = 100;
    config.loglevel = getenv("SIM_LOG") != NULL ? LOG_INFO : LOG_ERROR;
    if (config_finish(&config, error) != 0) {
        fprintf(stderr, "sim: %s\n", error);
        exit(2);
    }
    config.cache_rule[0].max_stale_ms = options->max_stale_ms;
    struct subject *subject = calloc(1, sizeof *subject);
    if (proxy_create(&subject->proxy, &config, error) != 0) {
        fprintf(stderr, "sim: %s\n", error);
        exit(2);
    }
    return subject;
}

void subject_destroy(struct subject *subject)
{
    proxy_destroy(&subject->proxy);
    free(subject);
}

unsigned subject_threads(const struct subject *subject)
{
    return proxy_threads(subject->proxy);
}

void subject_step(struct subject *subject, unsigned thread)
{
    proxy_step(subject->proxy, thread, 0);
}

unsigned subject_states(void)
{
    static_assert((int)REQUEST_STATES <= (int)SUBJECT_STATES, "room for every state");
    return REQUEST_STATES;
}

const char *subject_state_name(unsigned state)
{
    return request_state_names[state];
}

void subject_count(struct subject *subject, enum fault fault,
                   uint64_t counts[FAULT_KINDS][SUBJECT_STATES])
{
    for (unsigned w = 0; w < subject->proxy->workers; w++)
        for (struct client *c = subject->proxy->worker[w]->clients; c != NULL; c = c->next)
            for (struct request *r = c->first; r != NULL; r = r->next)
                counts[fault][r->state]++;
}

bool subject_rare_moment(const struct subject *subject)
{
    for (unsigned w = 0; w < subject->proxy->workers; w++)
        for (struct client *c = subject->proxy->worker[w]->clients; c != NULL; c = c->next)
            for (struct request *r = c->first; r != NULL; r = r->next)
                if (r->state == REQUEST_JOINED || r->state == REQUEST_FENCE)
                    return true;
    return false;
}

void subject_fail_blocks(struct subject *subject, uint64_t n, bool sticky)
{
    block_pool_fail_after(subject->proxy->pool, n, sticky);
}

static unsigned leak(FILE *out, unsigned worker, const char *what, uint64_t count)
{
    if (count != 0)
        fprintf(out, "worker %u still holds %llu %s\n", worker, (unsigned long long)count, what);
    return count != 0;
}

unsigned subject_leaks(struct subject *subject, FILE *out)
{
    struct proxy *proxy = subject->proxy;
    unsigned leaks = 0;
    uint64_t free_blocks = block_pool_free(proxy->pool), known = 0;
    for (unsigned w = 0; w < proxy->workers; w++) {
        struct worker *worker = proxy->worker[w];
        leaks += leak(out, w, "clients", worker->client_slab.used);
        leaks += leak(out, w, "requests", worker->request_slab.used);
        leaks += leak(out, w, "fills", worker->fill_slab.used);
        free_blocks += worker->blocks.count + worker->vital.count;
        for (unsigned s = 0; s < LATENCY_SOURCES; s++)
            for (unsigned c = 0; c < COMMAND_COUNT; c++)
                known += worker->latency_block[s][c] != NULL;
        known += worker->session_slab.used; // pooled connections; at most a page each
    }
    uint64_t borrowed = block_pool_total(proxy->pool) - free_blocks;
    if (borrowed > known)
        leaks += leak(out, 0, "blocks too many", borrowed - known);
    return leaks;
}

uint64_t subject_hits(struct subject *subject)
{
    uint64_t hits = 0;
    for (unsigned w = 0; w < subject->proxy->workers; w++)
        hits += metric_get(&subject->proxy->worker[w]->metrics, METRIC_cache_hits_total);
    return hits;
}

void subject_print(struct subject *subject, FILE *out)
{
    struct proxy *proxy = subject->proxy;
    for (unsigned w = 0; w < proxy->workers; w++)
        for (struct client *c = proxy->worker[w]->clients; c != NULL; c = c->next) {
            fprintf(out, "worker %u client fd %d outstanding %u markers %u holds %u in %zu "
                         "stalled %d closing %d session %p:",
                    w, c->identity.fd, c->outstanding, c->markers, c->holds, c->in.size,
                    c->stalled, c->closing, (void *)c->session);
            for (struct request *r = c->first; r != NULL; r = r->next)
                fprintf(out, " %s(%s %x)", request_state_names[r->state],
                        r->command != NULL ? r->command->name : "-", r->flags);
            fputc('\n', out);
        }
    for (unsigned n = 0; n < proxy->nodes; n++)
        for (unsigned l = 0; l < LIMIT_DBS; l++) {
            const struct lane *lane = &proxy->node[n].lanes[l];
            if (lane->state == LANE_UNUSED)
                continue;
            unsigned waiting = 0;
            for (const struct request *r = lane->wait_first; r != NULL; r = r->lane_next)
                waiting++;
            fprintf(out, "lane db %u state %d in flight %u waiting %u out %zu tracking %d fd %d "
                         "deadline in %lld ms\n",
                    lane->db, (int)lane->state, lane->in_flight, waiting, lane->out.size,
                    lane->tracking, lane->io.fd,
                    lane->timer.deadline_ns == 0
                        ? -1
                        : (long long)(lane->timer.deadline_ns - world_now()) / 1000000);
        }
}
