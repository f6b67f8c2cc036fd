// A worker: one thread and its loop. A round is
//
//   wait ─► callbacks (clients read, lanes read, timers) ─► mail ─► stalled clients go on
//        ─► fences and lanes are written ─► clients are written ─► mail is sent ─► the dead are
//        freed
//
// so that everything one round produces for a socket leaves in one system call.
#include "proxy/worker.h"
#include "base/err.h"
#include "base/log.h"
#include "proxy/client.h"
#include "proxy/core.h"
#include "proxy/local.h"
#include "proxy/session.h"
#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { CRON_MS = 100, WALK_SHARE = 10, LATENCY_FLOOR_NS = 1000, VITAL_SHARE = 16 };

static void cron(struct loop_timer *timer, uint64_t now_ns);
static void vouch(struct loop_timer *timer, uint64_t now_ns);

static int map_scratch(struct worker *worker)
{
    const struct config *config = &worker->settings->config;
    worker->join_room = config->client_buffer_bytes + LIMIT_LANE_REQUEST;
    worker->convert_room = 2 * worker->join_room + 64;
    worker->out_room = worker->join_room + OUT_SHARED_BYTES;
    worker->inline_room = 8 * LIMIT_INLINE_BYTES + 64;
    size_t bytes = LIMIT_READ_SCRATCH + ARRIVALS * CLIENT_READ_BYTES + OUT_SHARED_BYTES +
                   3 * LIMIT_LANE_REQUEST + 3 * worker->join_room + worker->convert_room +
                   worker->inline_room;
    uint8_t *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (at == MAP_FAILED)
        return WEIR_ENOMEM;
    worker->scratch = at;
    worker->scratch_bytes = bytes;
    worker->read_scratch = at;
    worker->input_scratch = worker->read_scratch + LIMIT_READ_SCRATCH;
    worker->frame_scratch = worker->input_scratch + 2 * LIMIT_LANE_REQUEST;
    worker->join_scratch = worker->frame_scratch + LIMIT_LANE_REQUEST;
    worker->turn_scratch = worker->join_scratch + worker->join_room;
    worker->out = worker->turn_scratch + worker->join_room;
    worker->convert = worker->out + worker->out_room;
    worker->inline_scratch = worker->convert + worker->convert_room;
    worker->arrival_scratch = worker->inline_scratch + worker->inline_room;
    return 0;
}

void worker_take_settings(struct worker *worker)
{
    const struct settings *settings = atomic_load(&worker->proxy->settings);
    if (settings == worker->settings)
        return;
    do {
        settings = atomic_load(&worker->proxy->settings);
        atomic_store(&worker->held, settings);
    } while (settings != atomic_load(&worker->proxy->settings));
    worker->settings = settings;
}

int worker_init(struct worker *worker, struct proxy *proxy, unsigned index)
{
    worker->proxy = proxy;
    worker->index = index;
    worker_take_settings(worker);
    worker->header_size = resp_put_header(worker->header, '$', 0);
    int failed = map_scratch(worker);
    if (failed || (failed = loop_create(&worker->loop)) != 0)
        return failed;
    mailbox_init(&worker->inbox, worker->loop);
    block_cache_init(&worker->blocks, proxy->pool);
    block_cache_init(&worker->vital, proxy->pool);
    worker->blocks.keep = block_pool_total(proxy->pool) / VITAL_SHARE;
    slab_init(&worker->client_slab, &worker->blocks, sizeof(struct client));
    slab_init(&worker->request_slab, &worker->vital, sizeof(struct request));
    slab_init(&worker->fill_slab, &worker->vital, sizeof(struct fill));
    slab_init(&worker->session_slab, &worker->blocks, session_bytes());
    worker->now_ns = worker->cron_seen_ns = clock_now_ns();
    worker->cron.fire = cron;
    worker->vouch.fire = vouch;
    loop_timer_set(worker->loop, &worker->cron, worker->now_ns + CLOCK_MS(CRON_MS));
    loop_timer_set(worker->loop, &worker->vouch, worker->now_ns + worker->settings->vouch_every_ns);
    return 0;
}

void worker_deinit(struct worker *worker)
{
    while (worker->clients != NULL)
        client_close(worker->clients);
    clients_free(worker);
    sessions_close_idle(worker);
    for (unsigned s = 0; s < LATENCY_SOURCES; s++) {
        for (unsigned c = 0; c < COMMAND_COUNT; c++) {
            if (worker->latency_block[s][c] != NULL)
                block_return(&worker->blocks, worker->latency_block[s][c]);
        }
    }
    block_cache_deinit(&worker->blocks);
    block_cache_deinit(&worker->vital);
    loop_timer_clear(worker->loop, &worker->cron);
    loop_timer_clear(worker->loop, &worker->vouch);
    loop_destroy(&worker->loop);
    munmap(worker->scratch, worker->scratch_bytes);
}

// ---- mail
// ----------------------------------------------------------------------------------------

void worker_send(struct worker *from, unsigned to, struct mail *mail, enum mail_kind kind)
{
    mail->kind = kind;
    outbox_put(&from->outbox[to], mail);
    from->outbox_used |= 1ull << to;
}

static void flush_mail(struct worker *worker)
{
    uint64_t used = worker->outbox_used;
    worker->outbox_used = 0;
    while (used != 0) {
        unsigned to = (unsigned)__builtin_ctzll(used);
        used &= used - 1;
        outbox_flush(&worker->outbox[to]);
    }
}

static void adopt(struct worker *worker, struct mail *mail)
{
    struct client_mail *letter = (struct client_mail *)mail;
    client_create(worker, &letter->identity);
    block_return(&worker->blocks, letter->block);
}

static void take_mail(struct worker *worker)
{
    struct mail *mail = mailbox_take(&worker->inbox);
    if (mail != NULL)
        worker->now_ns = clock_now_ns();
    while (mail != NULL) {
        struct mail *next = mail->next;
        switch ((enum mail_kind)mail->kind) {
        case MAIL_REQUEST:
            node_accept(((struct request *)mail)->lane->node, (struct request *)mail);
            break;
        case MAIL_RETURNED:
            request_returned((struct request *)mail);
            break;
        case MAIL_VISIT:
            client_command_visit(worker, (struct request *)mail);
            break;
        case MAIL_VISITED:
            client_command_visited((struct request *)mail);
            break;
        case MAIL_CLIENT:
            adopt(worker, mail);
            break;
        }
        mail = next;
    }
}

// ---- a round
// -------------------------------------------------------------------------------------

static void flush_nodes(struct worker *worker)
{
    for (unsigned i = 0; i < worker->proxy->nodes; i++) {
        if (worker->proxy->node[i].home == worker)
            node_flush(&worker->proxy->node[i]);
    }
}

// Something a later step of the round gave to an earlier one.
static bool work_left(const struct worker *worker)
{
    if (worker->resume != NULL || worker->session_dirty != NULL || worker->outbox_used != 0)
        return true;
    for (unsigned i = 0; i < worker->proxy->nodes; i++) {
        const struct node *node = &worker->proxy->node[i];
        if (node->home == worker && (node->fence_next != NULL || node->dirty_lanes != 0))
            return true;
    }
    return false;
}

int worker_step(struct worker *worker, int timeout_ms)
{
    worker_take_settings(worker);
    int ran = loop_poll(worker->loop, timeout_ms);
    clients_serve(worker);
    take_mail(worker);
    clients_resume(worker);
    sessions_flush(worker);
    flush_nodes(worker);
    clients_flush(worker);
    flush_mail(worker);
    clients_free(worker);
    if (work_left(worker))
        loop_wake(worker->loop);
    worker_drain(worker);
    return ran;
}

void worker_run(struct worker *worker)
{
    while (!worker->stopped)
        worker_step(worker, -1);
    atomic_store(&worker->ended, true);
}

// ---- latency
// -------------------------------------------------------------------------------------

void worker_latency(struct worker *worker, enum latency_source source, enum command_id command,
                    uint64_t ns, uint64_t times)
{
    histogram_add(source == LATENCY_CACHE ? &worker->latency_hit : &worker->latency_store, ns,
                  times);
    struct histogram *histogram =
        atomic_load_explicit(&worker->latency[source][command], memory_order_relaxed);
    if (histogram == NULL) {
        struct block *block = block_borrow(&worker->blocks);
        if (block == NULL)
            return;
        static_assert(sizeof(struct histogram) <= BLOCK_ROOM, "a histogram fits a block");
        memset(block->data, 0, sizeof(struct histogram));
        histogram = (struct histogram *)(void *)block->data;
        worker->latency_block[source][command] = block;
        atomic_store_explicit(&worker->latency[source][command], histogram, memory_order_release);
    }
    histogram_add(histogram, ns, times);
}

void worker_hits_flush(struct worker *worker)
{
    if (worker->hits_pending == 0)
        return;
    uint64_t took_ns = clock_now_ns() - worker->now_ns;
    worker_latency(worker, LATENCY_CACHE, worker->hits_command,
                   took_ns < LATENCY_FLOOR_NS ? LATENCY_FLOOR_NS : took_ns, worker->hits_pending);
    worker_count(worker, METRIC_cache_hits_total, worker->hits_pending);
    worker->hits_pending = 0;
}

size_t worker_client_room(const struct worker *worker)
{
    const struct block_pool *pool = worker->proxy->pool;
    size_t spare = block_pool_free(pool), reserve = block_pool_total(pool) / 8;
    size_t share = spare < reserve ? 0 : (spare - reserve) * BLOCK_BYTES / 4;
    size_t most = worker->settings->config.client_buffer_bytes;
    return share < most ? share : most;
}

// ---- timers
// --------------------------------------------------------------------------------------

// How busy the thread was, in thousandths of the time since the last look.
static void measure_busy(struct worker *worker, uint64_t now_ns)
{
    uint64_t idle_ns = loop_idle_ns(worker->loop);
    uint64_t span_ns = now_ns - worker->cron_seen_ns, idle = idle_ns - worker->idle_seen_ns;
    if (span_ns > 0)
        atomic_store(&worker->busy_permille,
                     (uint32_t)(idle >= span_ns ? 0 : 1000 - idle * 1000 / span_ns));
    worker->idle_seen_ns = idle_ns;
    worker->cron_seen_ns = now_ns;
}

// A busy thread hands clients to one that is not: one client a tick, the most recently active that
// can move now.
static void even_out(struct worker *worker)
{
    struct proxy *proxy = worker->proxy;
    if (atomic_load(&worker->busy_permille) < 900 || worker->clients == NULL ||
        worker->clients->next == NULL)
        return;
    for (unsigned i = 0; i < proxy->workers; i++) {
        if (atomic_load(&proxy->worker[i]->busy_permille) > 500)
            continue;
        for (struct client *client = worker->clients; client != NULL; client = client->next) {
            if (worker->now_ns - client->active_ns < CLOCK_MS(CRON_MS) && client_may_move(client)) {
                client_move(client, i);
                return;
            }
        }
        return;
    }
}

// Each client is looked at about once a second: a share of them at every tick.
static void walk_clients(struct worker *worker)
{
    uint32_t share = atomic_load(&worker->client_count) / WALK_SHARE + 1;
    struct client *client = worker->walk != NULL ? worker->walk : worker->clients;
    while (share-- > 0 && client != NULL) {
        struct client *next = client->next;
        client_tick(client);
        client = next;
    }
    worker->walk = client;
}

static void cron(struct loop_timer *timer, uint64_t now_ns)
{
    struct worker *worker = (struct worker *)((char *)timer - offsetof(struct worker, cron));
    worker->now_ns = now_ns;
    measure_busy(worker, now_ns);
    even_out(worker);
    walk_clients(worker);
    for (unsigned i = 0; i < worker->proxy->nodes; i++) {
        if (worker->proxy->node[i].home == worker)
            node_cron(&worker->proxy->node[i]);
    }
    sessions_tick(worker);
    clients_relieve(worker);
    loop_timer_set(worker->loop, timer, now_ns + CLOCK_MS(CRON_MS));
}

static void vouch(struct loop_timer *timer, uint64_t now_ns)
{
    struct worker *worker = (struct worker *)((char *)timer - offsetof(struct worker, vouch));
    worker->now_ns = now_ns;
    for (unsigned i = 0; i < worker->proxy->nodes; i++) {
        if (worker->proxy->node[i].home == worker)
            node_vouch(&worker->proxy->node[i]);
    }
    loop_timer_set(worker->loop, timer, now_ns + worker->settings->vouch_every_ns);
}
