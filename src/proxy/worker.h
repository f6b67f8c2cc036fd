#pragma once
// A worker: one thread, its loop, its clients, and the scratch memory they share.
#include "base/slab.h"
#include "cache/cache.h"
#include "config/config.h"
#include "loop/clock.h"
#include "loop/mailbox.h"
#include "observe/metrics.h"
#include "observe/histogram.h"
#include "proxy/client.h"
#include "proxy/request.h"

enum {
    PARSE_BATCH = 8, // requests parsed ahead: more prefetches than that the processor drops
    ARRIVALS = 8,    // sockets read ahead of being served
};

enum mail_kind {
    MAIL_REQUEST,  // to the node's thread: a request for its lane
    MAIL_RETURNED, // to the client's thread: the request with its answer
    MAIL_VISIT,    // CLIENT LIST or KILL comes by
    MAIL_VISITED,  // and has come home
    MAIL_CLIENT,   // a connection to adopt (accepted, or moved from another thread)
};

struct client_mail { // a connection on its way, in a block of its own
    struct mail mail;
    struct block *block;
    struct client_identity identity;
};

struct arrival { // what a socket gave, not yet served
    struct client *client;
    struct slice bytes; // in arrival_scratch
    uint64_t hash;      // of the first request's key, 0 when not known
};

enum latency_source { LATENCY_CACHE, LATENCY_STORE, LATENCY_SOURCES };

struct worker {
    struct proxy *proxy;
    unsigned index;
    struct loop *loop;
    struct mailbox inbox;
    struct outbox outbox[LIMIT_WORKERS];
    uint64_t outbox_used; // bit i: outbox[i] has mail to flush
    const struct settings *settings; // in force for this round of the loop
    _Atomic(const struct settings *) held; // the same, told to who would free it
    uint64_t now_ns;             // read after the last receive

    // Requests and what lanes send come from `vital`; everything else leaves it a share of the pool,
    // so that clients with much input or output waiting can't make others' requests fail.
    struct block_cache blocks, vital;
    struct slab client_slab, request_slab, fill_slab, session_slab;
    struct client *clients; // newest first
    struct client *walk;    // where the once-a-second walk stands
    struct client *dirty;   // clients with output to flush
    struct client *resume;  // clients whose stalled input may go on
    struct client *doomed;  // clients to free at the end of the round
    struct session *session_idle, *session_dirty;

    // Scratch, mapped once: nothing in it outlives the callback that wrote it.
    // Each has one use, because uses nest: a client's input starts requests, whose frames reach a
    // lane, whose replies are converted.
    uint8_t *read_scratch;  // LIMIT_READ_SCRATCH: what a socket gave
    uint8_t *input_scratch; // 2 × LIMIT_LANE_REQUEST: a client's kept input, put together
    uint8_t *frame_scratch; // LIMIT_LANE_REQUEST: a long request, put together
    uint8_t *join_scratch;  // join_room: a lane's reply that came in pieces
    uint8_t *turn_scratch;  // join_room: a reply that waited for its turn
    uint8_t *inline_scratch; // inline_room: an inline request rewritten as RESP
    uint8_t *convert;       // convert_room: RESP3 to RESP2
    uint8_t *out;           // out_room: replies composed in this round, see client.c
    size_t join_room, out_room, convert_room, inline_room, scratch_bytes;
    void *scratch;
    size_t out_size, out_begin; // used; where out_client's replies begin
    struct client *out_client;
    // The bulk header of the last hit: most values of a workload have one size.
    uint32_t header_value;
    size_t header_size;
    uint8_t header[RESP_HEAD_ROOM];
    // The last command's name as received, and what it was: most requests of a burst are alike.
    uint64_t memo_name;
    const struct command *memo_command;
    uint64_t hit_age_bytes;  // of the last hit
    uint8_t mget_scope[1];
    struct parsed batch[PARSE_BATCH];
    struct arrival arrivals[ARRIVALS];
    unsigned arrival_count;
    uint8_t *arrival_scratch; // ARRIVALS times what one read may give

    struct metrics metrics;
    _Atomic uint32_t client_count;
    uint32_t given; // accepting thread only: connections handed over in this burst
    // Borrowed at a command's first use; other threads read them for reports.
    _Atomic(struct histogram *) latency[LATENCY_SOURCES][COMMAND_COUNT];
    struct block *latency_block[LATENCY_SOURCES][COMMAND_COUNT];
    struct histogram latency_hit, latency_store;
    enum command_id hits_command; // of the hits not yet timed
    uint32_t hits_pending;
    uint32_t requests; // started in this batch, not yet counted
    struct loop_timer cron, vouch;
    uint64_t idle_seen_ns, cron_seen_ns;
    _Atomic uint32_t busy_permille; // of the last cron interval
    bool stopped;
    _Atomic bool ended;
};

static inline void worker_count(struct worker *worker, enum metric id, uint64_t n)
{
    metric_add(&worker->metrics, id, n);
}

// Takes the settings in force; what a worker holds is not freed (see retire in proxy.c). Whatever
// reads from a client calls it first, so that nothing sent after the answer to a CONFIG SET meets
// the settings before it.
void worker_take_settings(struct worker *worker);
int worker_init(struct worker *worker, struct proxy *proxy, unsigned index);
void worker_deinit(struct worker *worker);
// One round: wait, callbacks, mail, then flush everything that was produced.
int worker_step(struct worker *worker, int timeout_ms);
void worker_run(struct worker *worker); // until stopped
// Carries out what proxy_drain and proxy_stop asked for (proxy.c).
void worker_drain(struct worker *worker);
void worker_send(struct worker *from, unsigned to, struct mail *mail, enum mail_kind kind);
// A request took `ns` (times n); `source` is where it was answered.
void worker_latency(struct worker *worker, enum latency_source source, enum command_id command,
                    uint64_t ns, uint64_t times);
// Times the hits answered since the last call: together, as their client saw them.
void worker_hits_flush(struct worker *worker);
// What one client may hold of the buffer budget now: a share of what is free, so that however many
// are slow, some stays free for the others; 0 when only the reserve for small requests is left.
size_t worker_client_room(const struct worker *worker);

// A hit was answered.
static inline void worker_hit(struct worker *worker, enum command_id command)
{
    if (worker->hits_command != command)
        worker_hits_flush(worker);
    worker->hits_command = command;
    worker->hits_pending++;
}
