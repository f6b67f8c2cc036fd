// A lane: the shared connection to one database of a node (the picture of its life is below,
// replies are in lane_reply.c, the first words in lane_greet.c).
//
//   UNUSED ─ first request ─► CONNECTING ─ writable ─► GREETING ─ all answered ─► UP
//                                  ▲  │                   │                        │
//                             back-off└────── lost ◄──────┴──────── lost ◄─────────┘
//                                  └─ DOWN (requests fail at once, or wait if it was only just
//                                  lost)
//
// Requests wait in `wait_…` until the lane is UP; then they are sent in the order they came. What
// is sent stands in `first…last` in the order of the stream, with markers (no bytes on the wire)
// between.
//
// When a lane is lost, its epoch ends: nothing filled through it may be served. Reads are asked
// again on the next connection; a write that left is answered `outcome unknown`, one that did not
// is `not applied`. A read is not repeated when its client has sent a write behind it.
#include "proxy/lane.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "proxy/core.h"
#include <stdio.h>
#include <stdlib.h>

enum { BACKOFF_MIN_MS = 20, BACKOFF_MAX_MS = 2000, LOG_AGAIN_SECONDS = 60 };

static void lane_ready(struct loop_fd *io, uint32_t events);
static void lane_timeout(struct loop_timer *timer, uint64_t now_ns);

static const struct config *config_of(const struct lane *lane)
{
    return &lane->node->home->settings->config;
}

void lane_init(struct lane *lane, struct node *node, uint8_t db)
{
    lane->node = node;
    lane->db = db;
    lane->io = (struct loop_fd){.fd = -1, .ready = lane_ready};
    lane->timer.fire = lane_timeout;
    atomic_store(&lane->floor, UINT32_MAX);
    atomic_store(&lane->vouched_ns, 0);
}

static void lane_close(struct lane *lane)
{
    struct worker *home = lane->node->home;
    loop_timer_clear(home->loop, &lane->timer);
    if (lane->io.fd >= 0) {
        loop_remove(home->loop, &lane->io);
        net_close(lane->io.fd);
        lane->io.fd = -1;
    }
    buf_clear(&lane->in, &home->blocks);
    buf_clear(&lane->out, &home->blocks);
    lane->drain = lane->piecemeal = lane->tracking = false;
}

// ---- queues
// --------------------------------------------------------------------------------------

static void queue_put(struct request **first, struct request **last, struct request *request)
{
    request->lane_next = NULL;
    if (*last != NULL)
        (*last)->lane_next = request;
    else
        *first = request;
    *last = request;
}

static void append_sent(struct lane *lane, struct request *request)
{
    queue_put(&lane->first, &lane->last, request);
    lane->in_flight++;
}

struct request *lane_drop_fills(struct lane *lane, struct request *request)
{
    struct request *waiters = NULL;
    while (request->fills != NULL) {
        struct fill *fill = request->fills;
        request->fills = fill->next;
        fill_remove(&lane->node->fills, fill);
        if (fill->waiters != NULL)
            waiters = fill->waiters;
        slab_return(&lane->node->home->fill_slab, fill);
    }
    return waiters;
}

// ---- sending
// -------------------------------------------------------------------------------------

static bool put(struct lane *lane, struct slice bytes)
{
    return buf_append(&lane->out, &lane->node->home->vital, bytes) == 0;
}

static bool put_pttl(struct lane *lane, struct slice key)
{
    uint8_t head[64];
    size_t n = sizeof "*2\r\n$4\r\nPTTL\r\n" - 1;
    memcpy(head, "*2\r\n$4\r\nPTTL\r\n", n);
    n += resp_put_header(head + n, '$', (int64_t)key.size);
    return put(lane, slice_of(head, n)) && put(lane, key) && put(lane, SLICE("\r\n"));
}

static bool put_caching(struct lane *lane)
{
    return !lane->optin_sampled ||
           put(lane, SLICE("*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n"));
}

static struct fill *fill_new(struct lane *lane, struct request *request, struct slice frame,
                             struct slice key, uint64_t hash)
{
    struct fill *fill = slab_borrow(&lane->node->home->fill_slab);
    if (fill == NULL)
        return NULL;
    fill->owner = request;
    fill->hash = hash;
    fill->sent_ns = lane->node->home->now_ns;
    fill->stamp = atomic_load(&lane->node->proxy->epoch);
    fill->pttl_ms = INT64_MIN;
    fill->key_offset = (uint32_t)(key.data - frame.data);
    fill->key_size = (uint32_t)key.size;
    return fill;
}

// Asks for the key's life before the key itself. 0, or WEIR_ENOMEM: then it is a plain read.
static int send_fill_head(struct lane *lane, struct request *request, struct slice frame,
                          struct slice key, uint64_t hash)
{
    struct fill *fill = fill_new(lane, request, frame, key, hash);
    if (fill == NULL)
        return WEIR_ENOMEM;
    size_t before = lane->out.size;
    if (!put_caching(lane) || !put_pttl(lane, key)) {
        slab_return(&lane->node->home->fill_slab, fill);
        return lane->out.size == before ? WEIR_ENOMEM : WEIR_EIO;
    }
    struct fill **link = &request->fills;
    while (*link != NULL)
        link = &(*link)->next;
    *link = fill;
    fill_insert(&lane->node->fills, fill);
    request->prelude_left = (uint8_t)(request->prelude_left + (lane->optin_sampled ? 2 : 1));
    return 0;
}

static int send_mget_heads(struct lane *lane, struct request *request, struct slice frame)
{
    size_t cursor = 0;
    uint32_t keys = 0;
    struct slice key;
    resp_arg_next(frame, &cursor, &key);
    while (resp_arg_next(frame, &cursor, &key))
        keys++;
    if (keys > LIMIT_MGET_FILLS || lane->optin_sampled)
        return 0; // a plain read
    cursor = 0;
    resp_arg_next(frame, &cursor, &key);
    while (resp_arg_next(frame, &cursor, &key)) {
        int failed = send_fill_head(lane, request, frame, key, hash_key(key));
        if (failed)
            return failed;
    }
    return 0;
}

// May this read wait for a fill under way instead of asking again? The client must wait for nothing
// else, or it could see this key older than what it has been shown; and the fill must be young.
static bool try_join(struct lane *lane, struct request *request, struct slice frame)
{
    struct worker *home = lane->node->home;
    if (!(request->flags & REQUEST_MAY_JOIN))
        return false;
    struct fill *fill = fill_find(&lane->node->fills, request->hash);
    if (fill == NULL || fill->owner->lane != lane || fill->owner->command->id == COMMAND_MGET)
        return false;
    const struct near_rule *rule = settings_rule(
        home->settings, slice_of(frame.data + request->key_offset, request->key_size));
    if (fill->stamp < atomic_load(&lane->floor) ||
        home->now_ns - fill->sent_ns > rule->max_stale_ns)
        return false;
    if (fill->owner->frame_size != request->frame_size ||
        request->frame_size > REQUEST_INLINE_BYTES ||
        memcmp(fill->owner->frame, frame.data, frame.size) != 0)
        return false; // another command or letter case: not the same reply for sure
    request->lane_next = fill->waiters;
    fill->waiters = request;
    request->state = REQUEST_JOINED;
    worker_count(home, METRIC_cache_joined_total, 1);
    return true;
}

static void lane_dirty(struct lane *lane)
{
    lane->node->dirty_lanes |= 1u << lane->db;
}

static void sent(struct lane *lane, struct request *request)
{
    request->state = REQUEST_SENT;
    append_sent(lane, request);
    worker_count(lane->node->home, METRIC_store_requests_total, 1);
    lane_dirty(lane);
}

// A half-written command can't be taken back: the stream is broken.
static void no_memory(struct lane *lane, struct request *request, bool partly)
{
    lane_drop_fills(lane, request);
    request_fail(lane->node->home, request, "-ERR weir: out of buffer memory, not applied\r\n");
    if (partly)
        lane_lost(lane, "out of buffer memory");
}

// Room enough that this request can't leave half a command in the stream?
static bool has_room(const struct lane *lane, const struct request *request)
{
    size_t keys = request->command->id == COMMAND_MGET ? LIMIT_MGET_FILLS : 1;
    size_t blocks = (request->frame_size * 2 + keys * 128) / BLOCK_ROOM + 2;
    return block_pool_free(lane->node->proxy->pool) + lane->node->home->vital.count >= blocks;
}

static void lane_send(struct lane *lane, struct request *request)
{
    struct node *node = lane->node;
    if (!has_room(lane, request)) {
        no_memory(lane, request, false);
        return;
    }
    struct slice frame = request_frame(node->home, request);
    size_t before = lane->out.size;
    int failed = 0;
    if ((request->flags & REQUEST_CACHEABLE) && lane->tracking) {
        if (try_join(lane, request, frame))
            return;
        worker_count(node->home, METRIC_cache_misses_total, 1);
        if (request->command->id == COMMAND_MGET)
            failed = send_mget_heads(lane, request, frame);
        else
            failed = send_fill_head(lane, request, frame,
                                    slice_of(frame.data + request->key_offset, request->key_size),
                                    request->hash);
    } else if (!(request->flags & REQUEST_READ)) {
        node_invalidate(node, request);
    }
    if (failed == WEIR_EIO || !put(lane, frame)) {
        no_memory(lane, request, lane->out.size != before);
        return;
    }
    sent(lane, request);
}

void lane_accept(struct lane *lane, struct request *request)
{
    if (lane->state == LANE_UP) {
        if (request->state == REQUEST_MARKER) {
            append_sent(lane, request);
            if (lane->first == request)
                lane_markers(lane);
        } else {
            lane_send(lane, request);
        }
        return;
    }
    if (lane->state == LANE_UNUSED)
        lane_connect(lane);
    if (lane->state == LANE_DOWN && lane->failures > 1) {
        char line[CONFIG_TEXT + 64];
        snprintf(line, sizeof line, "-ERR weir: %s down, not applied\r\n", lane->node->name);
        request_fail(lane->node->home, request, line);
        return;
    }
    queue_put(&lane->wait_first, &lane->wait_last, request);
}

int lane_ask(struct lane *lane, struct slice frame, struct fence *fence,
             void (*answered)(struct lane *lane, struct request *request, struct slice reply))
{
    struct request *request = request_borrow(lane->node->home, slice_of(NULL, 0));
    if (request == NULL)
        return WEIR_ENOMEM;
    if (!put(lane, frame)) {
        request_release(request);
        return WEIR_ENOMEM;
    }
    request->lane = lane;
    request->internal = answered;
    request->fence = fence;
    request->start_ns = lane->node->home->now_ns;
    request->state = REQUEST_SENT;
    append_sent(lane, request);
    lane_dirty(lane);
    return 0;
}

void lane_flush(struct lane *lane)
{
    struct worker *home = lane->node->home;
    while (lane->io.fd >= 0 && lane->out.size > 0) {
        struct iovec vectors[64];
        int count = buf_vectors(&lane->out, vectors, 64);
        ssize_t n = net_writev(lane->io.fd, vectors, count);
        if (n == WEIR_EAGAIN) {
            loop_modify(home->loop, &lane->io, LOOP_READ | LOOP_WRITE);
            return;
        }
        if (n < 0) {
            lane_lost(lane, weir_strerror((int)n));
            return;
        }
        worker_count(home, METRIC_store_sent_bytes_total, (uint64_t)n);
        buf_consume(&lane->out, &home->blocks, (size_t)n);
    }
    if (lane->io.fd >= 0 && (lane->io.events & LOOP_WRITE))
        loop_modify(home->loop, &lane->io, LOOP_READ);
}

// ---- losing
// --------------------------------------------------------------------------------------

static uint64_t backoff_ns(struct lane *lane)
{
    uint32_t shift = lane->failures > 8 ? 8 : lane->failures;
    uint64_t most = (uint64_t)BACKOFF_MIN_MS << shift;
    if (most > BACKOFF_MAX_MS)
        most = BACKOFF_MAX_MS;
    uint64_t noise = (lane->node->home->now_ns * 0x9e3779b97f4a7c15ull) >> 33;
    return CLOCK_MS(most / 2 + noise % (most / 2 + 1)); // half fixed, half jitter
}

static void fail_lost(struct lane *lane, struct request *request, bool left)
{
    char line[CONFIG_TEXT + 64];
    snprintf(line, sizeof line, "-ERR weir: %s lost, %s\r\n", lane->node->name,
             left ? "outcome unknown" : "not applied");
    request_fail(lane->node->home, request, line);
}

// A read goes back unanswered, to be asked again if its client has sent no write behind it.
static void lose_request(struct lane *lane, struct request *request)
{
    if ((request->flags & REQUEST_READ) && !(request->flags & REQUEST_RETRIED)) {
        request->flags |= REQUEST_LOST;
        request->prelude_left = 0;
        request_return(lane->node->home, request);
    } else {
        fail_lost(lane, request, true);
    }
}

// Everything that stood on the lane, in order.
static void resolve_sent(struct lane *lane, struct request *list)
{
    while (list != NULL) {
        struct request *request = list;
        list = list->lane_next;
        struct request *waiters = lane_drop_fills(lane, request);
        if (request->internal != NULL) {
            if (request->fence != NULL)
                node_fence_answered(lane->node, request->fence);
            request_release(request);
        } else if (request->state == REQUEST_MARKER) {
            request_return(lane->node->home, request);
        } else {
            lose_request(lane, request);
        }
        while (waiters != NULL) {
            struct request *waiter = waiters;
            waiters = waiter->lane_next;
            lose_request(lane, waiter);
        }
    }
}

static void fail_waiting(struct lane *lane)
{
    struct request *list = lane->wait_first;
    lane->wait_first = lane->wait_last = NULL;
    while (list != NULL) {
        struct request *request = list;
        list = list->lane_next;
        if (request->state == REQUEST_MARKER)
            request_return(lane->node->home, request);
        else
            fail_lost(lane, request, false);
    }
}

// A store that stays away is said once, and then once a minute.
static void log_lost(struct lane *lane, bool was_up, const char *why)
{
    uint64_t now_ns = lane->node->home->now_ns;
    if (!was_up && lane->logged_ns != 0 &&
        now_ns - lane->logged_ns < LOG_AGAIN_SECONDS * CLOCK_MS(1000))
        return;
    lane->logged_ns = was_up ? 0 : now_ns;
    log_write(was_up ? LOG_WARN : LOG_INFO, was_up ? "store lost" : "store not reached",
              "node=%s db=%u reason=\"%s\" requests=%u", lane->node->name, lane->db, why,
              lane->in_flight);
}

void lane_lost(struct lane *lane, const char *why)
{
    struct node *node = lane->node;
    if (lane->state == LANE_UNUSED || lane->state == LANE_DOWN)
        return;
    bool was_up = lane->state == LANE_UP;
    log_lost(lane, was_up, why);
    lane_close(lane);
    lane->state = LANE_DOWN;
    lane->failures = was_up ? 1 : lane->failures + 1;
    if (was_up) // before that it has carried nothing
        lane->old_connection_id = lane->connection_id;
    atomic_store(&lane->floor, UINT32_MAX);
    fill_kill_all(&node->fills);
    worker_count(node->home, METRIC_cache_epochs_total, was_up);
    uint64_t wait_ns = was_up ? 0 : backoff_ns(lane);
    loop_timer_set(node->home->loop, &lane->timer, node->home->now_ns + wait_ns + 1);

    struct request *list = lane->first;
    lane->first = lane->last = NULL;
    lane->in_flight = 0;
    resolve_sent(lane, list);
    if (!was_up && lane->failures > 1)
        fail_waiting(lane);
}

void lane_deinit(struct lane *lane)
{
    if (lane->state == LANE_UNUSED)
        return;
    lane_close(lane);
    lane->state = LANE_DOWN;
    struct request *list = lane->first;
    lane->first = lane->last = NULL;
    resolve_sent(lane, list);
    fail_waiting(lane);
}

// ---- connecting
// ----------------------------------------------------------------------------------

void lane_connect(struct lane *lane)
{
    struct worker *home = lane->node->home;
    lane->state = LANE_CONNECTING;
    worker_count(home, METRIC_store_connects_total, 1);
    int fd = net_connect(&lane->node->address);
    if (fd < 0) {
        lane_lost(lane, weir_strerror(fd));
        return;
    }
    lane->io.fd = fd;
    lane->io.events = LOOP_WRITE;
    if (loop_add(home->loop, &lane->io) != 0) {
        net_close(fd);
        lane->io.fd = -1;
        lane_lost(lane, "the event loop refused the socket");
        return;
    }
    loop_timer_set(home->loop, &lane->timer,
                   home->now_ns + CLOCK_MS(config_of(lane)->connect_timeout_ms));
}

static void lane_timeout(struct loop_timer *timer, uint64_t now_ns)
{
    struct lane *lane = (struct lane *)((char *)timer - offsetof(struct lane, timer));
    lane->node->home->now_ns = now_ns;
    if (lane->state == LANE_DOWN) {
        lane->node->reconnects++;
        lane_connect(lane);
    } else if (lane->state != LANE_UP) {
        lane_lost(lane, "connect-timeout");
    }
}

static void lane_ready(struct loop_fd *io, uint32_t events)
{
    struct lane *lane = (struct lane *)((char *)io - offsetof(struct lane, io));
    struct worker *home = lane->node->home;
    if (lane->state == LANE_CONNECTING) {
        int result = net_connect_result(io->fd);
        if (result == WEIR_EAGAIN)
            return;
        if (result < 0) {
            lane_lost(lane, weir_strerror(result));
            return;
        }
        home->now_ns = clock_now_ns();
        lane->state = LANE_GREETING;
        loop_modify(home->loop, io, LOOP_READ);
        net_set_keepalive(io->fd, 60);
        lane_greet(lane);
        return;
    }
    if (events & LOOP_WRITE)
        lane_dirty(lane); // written at the end of the round
    if (!(events & (LOOP_READ | LOOP_HANGUP)))
        return;
    ssize_t n = net_read(io->fd, home->read_scratch, LIMIT_READ_SCRATCH);
    home->now_ns = clock_now_ns();
    if (n == WEIR_EAGAIN)
        return;
    if (n < 0) {
        lane_lost(lane, weir_strerror((int)n));
        return;
    }
    worker_count(home, METRIC_store_received_bytes_total, (uint64_t)n);
    lane->received_ns = home->now_ns;
    lane_input(lane, slice_of(home->read_scratch, (size_t)n));
}

void lane_tick(struct lane *lane, uint64_t now_ns)
{
    uint64_t limit_ms = config_of(lane)->store_timeout_ms;
    if (lane->state != LANE_UP || limit_ms == 0 || lane->in_flight == 0)
        return;
    uint64_t since =
        lane->first->start_ns > lane->received_ns ? lane->first->start_ns : lane->received_ns;
    if (now_ns > since && now_ns - since > CLOCK_MS(limit_ms))
        lane_lost(lane, "store-timeout: no answer");
}
