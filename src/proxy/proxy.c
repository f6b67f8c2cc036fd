// The proxy's life: everything is mapped and opened before the first thread starts, so that what
// can't be had is refused at once. See proxy.h.
//
// Settings are immutable and published by one pointer. Workers take it once a round and say which they
// hold; what a reload replaced is freed when nobody holds it (the idea of a hazard pointer).
#include "proxy/proxy.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "proxy/client.h"
#include "proxy/core.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DRAIN_SERVING, DRAIN_DRAINING, DRAIN_STOPPING };

// ---- create --------------------------------------------------------------------------------------

// Address space for CONFIG SET weir-memory: up to what the machine has.
static size_t growth_room(uint64_t bytes)
{
    uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    return machine > 4 * bytes ? machine : 4 * bytes;
}

static void note_log_bytes(struct proxy *proxy)
{
    struct cache_stats stats;
    cache_stats(proxy->cache, &stats);
    atomic_store(&proxy->cache_log_bytes, stats.bytes_log);
}

static int create_memory(struct proxy *proxy, const struct config *config, char error[CONFIG_ERROR])
{
    uint64_t cache_bytes;
    int failed = memory_plan(proxy, config, &cache_bytes, error);
    if (failed)
        return failed;
    failed = block_pool_create(&proxy->pool, proxy->memory_buffers_bytes);
    if (!failed && cache_bytes > 0) {
        struct cache_options options = {
            .bytes = cache_bytes, .reserve_bytes = growth_room(cache_bytes), .prefault = true};
        failed = cache_create(&proxy->cache, &options);
    }
    if (!failed)
        failed = slowlog_create(&proxy->slowlog);
    if (failed)
        snprintf(error, CONFIG_ERROR, "memory: %llu MB could not be had from the kernel (%s)",
                 (unsigned long long)(config->memory_bytes >> 20), weir_strerror(failed));
    else if (proxy->cache != NULL)
        note_log_bytes(proxy);
    return failed;
}

static int create_workers(struct proxy *proxy, char error[CONFIG_ERROR])
{
    for (unsigned i = 0; i < proxy->workers; i++) {
        struct worker *worker = aligned_alloc(64, (sizeof *worker + 63) & ~(size_t)63);
        if (worker == NULL)
            return WEIR_ENOMEM;
        memset(worker, 0, sizeof *worker);
        proxy->worker[i] = worker;
        int failed = worker_init(worker, proxy, i);
        if (failed) {
            snprintf(error, CONFIG_ERROR, "thread %u: %s", i, weir_strerror(failed));
            free(worker);
            proxy->worker[i] = NULL;
            return failed;
        }
    }
    for (unsigned i = 0; i < proxy->workers; i++) {
        for (unsigned to = 0; to < proxy->workers; to++)
            outbox_init(&proxy->worker[i]->outbox[to], &proxy->worker[to]->inbox);
    }
    return 0;
}

static int create_nodes(struct proxy *proxy, const struct config *config)
{
    proxy->node = aligned_alloc(64, (sizeof *proxy->node + 63) & ~(size_t)63);
    if (proxy->node == NULL)
        return WEIR_ENOMEM;
    memset(proxy->node, 0, sizeof *proxy->node);
    proxy->nodes = 1;
    node_init(&proxy->node[0], proxy, proxy->worker[0], &config->store);
    return 0;
}

static int open_listeners(struct proxy *proxy, const struct config *config, char error[CONFIG_ERROR])
{
    for (unsigned i = 0; i < config->listens; i++) {
        struct listener *listener = &proxy->listener[i];
        int failed = listener_open(listener, config, config->listen[i].address, error);
        if (failed)
            return failed;
        proxy->listeners++;
        failed = listener_start(listener, proxy->worker[0]);
        if (failed)
            return failed;
    }
    return 0;
}

int proxy_create(struct proxy **out, const struct config *config, char error[CONFIG_ERROR])
{
    struct proxy *proxy = calloc(1, sizeof *proxy);
    const struct settings *settings = NULL;
    if (proxy == NULL)
        return WEIR_ENOMEM;
    error[0] = '\0';
    pthread_mutex_init(&proxy->reload_lock, NULL);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    proxy->workers = config->threads != 0 ? config->threads : processors > 0 ? (unsigned)processors : 1;
    if (proxy->workers > LIMIT_WORKERS)
        proxy->workers = LIMIT_WORKERS;
    proxy->started_ns = clock_now_ns();
    atomic_store(&proxy->epoch, 1);
    int failed = settings_create(&settings, config, error);
    atomic_store(&proxy->settings, settings);
    if (!failed)
        failed = create_memory(proxy, config, error);
    if (failed)
        proxy->workers = 0; // none exists yet
    else
        failed = create_workers(proxy, error);
    if (!failed)
        failed = create_nodes(proxy, config);
    if (!failed)
        failed = open_listeners(proxy, config, error);
    if (failed) {
        if (error[0] == '\0')
            snprintf(error, CONFIG_ERROR, "could not start: %s", weir_strerror(failed));
        while (proxy->workers > 0 && proxy->worker[proxy->workers - 1] == NULL)
            proxy->workers--; // as many as were made
        proxy_destroy(&proxy);
        return failed;
    }
    *out = proxy;
    return 0;
}

void proxy_destroy(struct proxy **pointer)
{
    struct proxy *proxy = *pointer;
    *pointer = NULL;
    while (proxy->workers > 0 && proxy->worker[proxy->workers - 1] == NULL)
        proxy->workers--; // it failed before they were made
    for (unsigned i = 0; i < proxy->listeners; i++)
        listener_close(&proxy->listener[i]);
    for (unsigned i = 0; i < proxy->workers; i++) {
        while (proxy->worker[i]->clients != NULL)
            client_close(proxy->worker[i]->clients);
    }
    for (unsigned i = 0; i < proxy->nodes; i++)
        node_deinit(&proxy->node[i]);
    for (unsigned i = 0; i < proxy->workers; i++) { // what the nodes gave back by mail
        for (unsigned round = 0; round < 4; round++)
            worker_step(proxy->worker[i], 0);
    }
    for (unsigned i = 0; i < proxy->workers; i++) {
        worker_deinit(proxy->worker[i]);
        free(proxy->worker[i]);
    }
    free(proxy->node);
    if (proxy->cache != NULL)
        cache_destroy(&proxy->cache);
    if (proxy->pool != NULL)
        block_pool_destroy(&proxy->pool);
    if (proxy->slowlog != NULL)
        slowlog_destroy(&proxy->slowlog);
    const struct settings *settings = atomic_load(&proxy->settings);
    if (settings != NULL)
        settings_destroy(&settings);
    while (proxy->retired != NULL) {
        const struct settings *old = proxy->retired;
        proxy->retired = old->next_retired;
        settings_destroy(&old);
    }
    pthread_mutex_destroy(&proxy->reload_lock);
    free(proxy);
}

// ---- threads -------------------------------------------------------------------------------------

static void *run(void *argument)
{
    worker_run(argument);
    return NULL;
}

int proxy_start(struct proxy *proxy)
{
    // The lane of the default database connects before anybody asks, so that the first client finds
    // it up and /readyz can say so.
    lane_connect(&proxy->node[0].lanes[atomic_load(&proxy->settings)->config.store.db]);
    proxy->threaded = true;
    for (unsigned i = 0; i < proxy->workers; i++) {
        if (pthread_create(&proxy->thread[i], NULL, run, proxy->worker[i]) != 0)
            return WEIR_EIO;
        char name[16];
        snprintf(name, sizeof name, "weir-%u", i);
        pthread_setname_np(proxy->thread[i], name);
    }
    return 0;
}

int proxy_step(struct proxy *proxy, unsigned index, int timeout_ms)
{
    return worker_step(proxy->worker[index], timeout_ms);
}

unsigned proxy_threads(const struct proxy *proxy)
{
    return proxy->workers;
}

// ---- configuration -------------------------------------------------------------------------------

void proxy_config(struct proxy *proxy, struct config *out)
{
    pthread_mutex_lock(&proxy->reload_lock);
    *out = atomic_load(&proxy->settings)->config;
    pthread_mutex_unlock(&proxy->reload_lock);
}

static bool is_held(const struct proxy *proxy, const struct settings *settings)
{
    for (unsigned i = 0; i < proxy->workers; i++) {
        if (atomic_load(&proxy->worker[i]->held) == settings)
            return true;
    }
    return false;
}

// Old settings are freed when no worker holds them, now or at a later reload.
static void retire(struct proxy *proxy, const struct settings *old)
{
    ((struct settings *)(uintptr_t)old)->next_retired = proxy->retired;
    proxy->retired = old;
    const struct settings **link = &proxy->retired;
    while (*link != NULL) {
        const struct settings *settings = *link;
        if (is_held(proxy, settings)) {
            link = (const struct settings **)(uintptr_t)&settings->next_retired;
            continue;
        }
        *link = settings->next_retired;
        settings_destroy(&settings);
    }
}

static int resize_cache(struct proxy *proxy, const struct config *config, char error[CONFIG_ERROR])
{
    const struct config *now = &atomic_load(&proxy->settings)->config;
    if (proxy->cache == NULL || config->memory_bytes == now->memory_bytes)
        return 0;
    uint64_t bytes = memory_cache_share(proxy, config->memory_bytes);
    int failed = bytes == 0 ? WEIR_ERANGE : cache_resize(proxy->cache, bytes);
    note_log_bytes(proxy);
    if (failed == WEIR_ERANGE)
        snprintf(error, CONFIG_ERROR,
                 "memory: too small: the process, its buffers and threads need %llu MB, the cache 2",
                 (unsigned long long)((proxy->memory_base_bytes + proxy->memory_buffers_bytes +
                                       proxy->memory_scratch_bytes) >> 20));
    else if (failed)
        snprintf(error, CONFIG_ERROR, "memory: can't grow so far while running: restart with it");
    return failed;
}

int proxy_reload(struct proxy *proxy, const struct config *config, char error[CONFIG_ERROR])
{
    const struct settings *settings;
    pthread_mutex_lock(&proxy->reload_lock);
    int failed = settings_create(&settings, config, error);
    if (!failed) {
        failed = resize_cache(proxy, config, error);
        if (failed)
            settings_destroy(&settings);
    }
    if (!failed) {
        log_set_level(config->loglevel);
        const struct settings *old = atomic_exchange(&proxy->settings, settings);
        retire(proxy, old);
    }
    pthread_mutex_unlock(&proxy->reload_lock);
    return failed;
}

// ---- the end -------------------------------------------------------------------------------------

static void ask_all(struct proxy *proxy, uint32_t state)
{
    atomic_store(&proxy->drain_state, state);
    for (unsigned i = 0; i < proxy->workers; i++)
        loop_wake(proxy->worker[i]->loop);
}

void proxy_drain(struct proxy *proxy)
{
    pthread_mutex_lock(&proxy->reload_lock); // the settings stay while they are read
    uint64_t drain_ms = atomic_load(&proxy->settings)->config.drain_ms;
    pthread_mutex_unlock(&proxy->reload_lock);
    atomic_store(&proxy->drain_deadline_ns, clock_now_ns() + CLOCK_MS(drain_ms));
    ask_all(proxy, DRAIN_DRAINING);
}

void proxy_stop(struct proxy *proxy)
{
    ask_all(proxy, DRAIN_STOPPING);
}

static bool drained(struct worker *worker)
{
    struct client *next;
    for (struct client *client = worker->clients; client != NULL; client = next) {
        next = client->next;
        if (client->first == NULL && client->session == NULL && client_pending(client) == 0 &&
            !client->streaming && !client->resuming)
            client_close(client);
    }
    return worker->clients == NULL;
}

// Called each round. The nodes' thread goes last, for the others still need its lanes.
void worker_drain(struct worker *worker)
{
    struct proxy *proxy = worker->proxy;
    uint32_t state = atomic_load_explicit(&proxy->drain_state, memory_order_acquire);
    if (state == DRAIN_SERVING)
        return;
    if (worker->index == 0) {
        for (unsigned i = 0; i < proxy->listeners; i++)
            listener_close(&proxy->listener[i]);
    }
    bool done = state == DRAIN_STOPPING || clock_now_ns() >= proxy->drain_deadline_ns;
    if (drained(worker) || done) {
        for (unsigned i = 1; worker->index == 0 && !done && i < proxy->workers; i++) {
            if (!atomic_load(&proxy->worker[i]->ended))
                return;
        }
        worker->stopped = true;
    }
}

void proxy_join(struct proxy *proxy)
{
    for (unsigned i = 0; proxy->threaded && i < proxy->workers; i++)
        pthread_join(proxy->thread[i], NULL);
    proxy->threaded = false;
}

struct slowlog *proxy_slowlog(struct proxy *proxy)
{
    return proxy->slowlog;
}
