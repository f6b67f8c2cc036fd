#pragma once
// One command of one client (or of weir itself), from its parse to its reply.
//
//   client's thread                     node's thread (may be the same)          client's thread
//   parse ─► START ─┬─ hit, local ──────────────────────────────────────────────► DONE ─► reply
//                   └─► QUEUED ──mailbox──► lane ─┬─► SENT ── reply ──┐
//                                                 ├─► JOINED ─ fill ──┼─ mailbox ─► DONE ─► reply
//                                                 ├─► MARKER ─ turn ──┤   or REASK, sent again
//                                                 └─► FENCE ── answer ┘       when first in line
//
// A request belongs to its client's thread, except between request_submit and its return
// (request_returned), when it belongs to the node's. Replies leave in the order of requests: a
// client's requests form a queue, and only its head is answered.
#include "base/buf.h"
#include "loop/mailbox.h"
#include "wire/command.h"

struct client;
struct fill;
struct lane;
struct worker;

enum request_state {
    REQUEST_QUEUED, // on its way to the lane, or waiting for the lane to connect
    REQUEST_SENT,   // written to the lane, its reply is to come
    REQUEST_JOINED, // waits for the reply of another request's fill
    REQUEST_MARKER, // a likely hit behind other requests: looked up when its turn on the lane comes
    REQUEST_FENCE,  // a hit out of date: looked up again when the lane has answered a fence
    REQUEST_REASK,  // its answer came too early or too large: asked again when first in line
    REQUEST_DONE,   // answered, waits for its turn
    REQUEST_STATES
};
extern const char *const request_state_names[REQUEST_STATES];

enum request_flag {
    REQUEST_READ = 1 << 0,          // has no effect on the store: may be asked again
    REQUEST_CACHEABLE = 1 << 1,     // its reply may fill the cache
    REQUEST_MAY_JOIN = 1 << 2,      // its client waits for nothing else
    REQUEST_FLUSH = 1 << 3,         // changes keys it doesn't name
    REQUEST_LARGE = 1 << 5,         // its reply exceeds the client's buffer: REASK privately
    REQUEST_RESP3 = 1 << 6,         // the reply held has types that RESP2 lacks
    REQUEST_FAILED = 1 << 7,        // the reply held is weir's own error
    REQUEST_ADD_INFO = 1 << 8,      // INFO: the # Weir section is appended
    REQUEST_SESSION_FENCE = 1 << 9, // not a command: a session waits for a fence
    REQUEST_HIT = 1 << 10,          // answered by the cache at its turn
    REQUEST_FENCED = 1 << 11,       // a fence was just answered for it: max-stale is satisfied
    REQUEST_LOST = 1 << 12,         // its connection was lost before the reply came
    REQUEST_RETRIED = 1 << 13,      // asked again once for that
    REQUEST_NULL_ARRAY = 1 << 14,   // its arguments make a RESP2 null "*-1" (command_shape)
};

enum { REQUEST_INLINE_BYTES = 152 };

struct request {
    struct mail mail;          // first: a request travels between threads
    struct request *next;      // its client's queue
    struct request *lane_next; // the lane's queue, or a list of waiters
    struct client *client;     // client's thread only; NULL when the client has gone
    struct worker *worker;     // whose slab it came from, where it returns to
    struct lane *lane;
    const struct command *command;
    // weir's own request to the store, not a client's
    void (*internal)(struct lane *lane, struct request *request, struct slice reply);
    struct fill *fills; // node's thread: what the reply may fill, in key order
    struct fence *fence;
    struct buf reply; // held until its turn, RESP3 as it came
    uint64_t start_ns, hash;
    uint64_t *hashes; // of a write's keys when more than one, in hash_block
    struct block *hash_block;
    enum request_state state;
    uint32_t flags;
    uint16_t key_count;
    uint8_t prelude_left; // replies to come before its own (CACHING, PTTL)
    uint8_t db;
    // of the client's thread alone, also while the request is away
    bool away;          // with the node's thread
    bool reads;         // REQUEST_READ, for those who may not look at the flags
    bool discard;       // its lane reply is out of order by now: throw it away, REASK
    uint8_t small_size; // a short reply held behind the frame, instead of in `reply`
    uint32_t frame_size, key_offset, key_size;
    struct buf frame_rest; // the frame, when longer than fits below
    uint8_t frame[REQUEST_INLINE_BYTES];
};

// Why a request can't start now; its client is resumed when that has passed.
enum request_verdict { REQUEST_STARTED, REQUEST_STALLED, REQUEST_CLOSED };

// What the client's parser hands over: a request and what is known of it before it starts.
struct parsed {
    struct resp_request request;
    const struct command *command;
    uint64_t hash; // of the first key, when there is one
};

// Starts one parsed request of `client`.
enum request_verdict request_start(struct client *client, const struct parsed *parsed);

// A request with the client's frame copied into it, or NULL when the budget is used.
struct request *request_borrow(struct worker *worker, struct slice frame);
void request_release(struct request *request); // on its own worker's thread

// Node's thread: hands the reply (RESP3 bytes) to the request and gives it back to its client.
void request_answer(struct worker *here, struct request *request, struct slice reply, bool resp3);
// The same with weir's own error line.
void request_fail(struct worker *here, struct request *request, const char *line);
// The same without a reply: the state (REASK, or DONE for fences) says what happens.
void request_return(struct worker *here, struct request *request);
// Client's thread: a request came back.
void request_returned(struct request *request);
// For what is answered over several threads: the request stands in the queue (nothing may follow)
// until it is finished; the caller then appends the reply.
void request_hold(struct client *client, struct request *request);
void request_finish(struct client *client, struct request *request);
// Answers as many requests at the head of the client's queue as can be.
void request_turns(struct client *client);
// The head, asked again on a private connection, has been answered there.
void request_reask_done(struct client *client);
// The client goes: its requests finish without it.
void request_orphan(struct client *client);

struct slice request_key(const struct request *request); // within the inline frame
// The whole frame: inline, or copied to the worker's join scratch.
struct slice request_frame(struct worker *worker, const struct request *request);

// ---- the client's queue, between request.c and request_return.c
// -----------------------------------
void request_enqueue(struct client *client, struct request *request);
void request_dequeue(struct client *client); // the head; not released
void request_set_state(struct request *request, enum request_state state);
void request_set_discard(struct request *request, bool discard);
void request_submit(struct request *request, enum request_state state); // to the node's thread
