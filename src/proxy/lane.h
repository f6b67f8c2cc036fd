#pragma once
// A lane: the shared connection to one database of a node. RESP3 with tracking, pipelined, used for
// all clients; one FIFO of requests in, one stream of replies and invalidations out.
#include "base/buf.h"
#include "loop/loop.h"
#include "wire/resp.h"
#include <stdatomic.h>

struct node;
struct request;
struct worker;

enum lane_state {
    LANE_UNUSED,     // nobody asked for this database yet
    LANE_CONNECTING, // the socket is on its way
    LANE_GREETING,   // HELLO and what follows it
    LANE_UP,
    LANE_DOWN,       // waiting to try again; requests fail at once
};

struct fence { // waiters of a fence; counted over the lanes that must answer it
    unsigned left;
    struct request *waiters;
};

struct lane {
    // Read by every thread on a hit, so alone on its line.
    _Alignas(64) _Atomic uint32_t floor; // entries of older stamps are misses; UINT32_MAX: all are
    _Atomic uint64_t vouched_ns;         // send time of the newest answered ROLE

    _Alignas(64) struct node *node;
    uint8_t db;
    _Atomic enum lane_state state; // others read it for reports
    struct loop_fd io;
    struct loop_timer timer;         // reconnect, connect and greeting deadlines
    struct request *first, *last;    // sent and markers, in stream order
    struct request *wait_first, *wait_last; // until the lane is up
    struct buf out, in;
    struct resp_scan scan;           // of the incomplete reply in `in`
    bool piecemeal;                  // a reply came incomplete; scan and in hold what came
    bool drain;                      // it is too large: pass over it
    bool resp3, tracking;
    uint32_t in_flight;
    uint32_t failures;               // in a row, for the back-off
    int64_t connection_id, old_connection_id; // as the store numbers them
    uint64_t sent_ns, received_ns;   // progress, for store-timeout
    uint64_t asked_ns;               // when the last vouch was sent
    uint64_t logged_ns;              // when it was last said that the store is not reached
    bool optin_sampled;              // tracking is OPTIN
    char run_id[48];                 // of the server process behind it
};

void lane_init(struct lane *lane, struct node *node, uint8_t db);
void lane_deinit(struct lane *lane);
// Takes a request: sends it, or keeps it until the lane is up, or fails it.
void lane_accept(struct lane *lane, struct request *request);
// weir's own command; `answered` gets the reply. Returns 0 or WEIR_ENOMEM.
int lane_ask(struct lane *lane, struct slice frame, struct fence *fence,
             void (*answered)(struct lane *lane, struct request *request, struct slice reply));
// The connection is of no use any more: `why` in words. Requests are answered or sent again.
void lane_lost(struct lane *lane, const char *why);
// Forgets the fills of a request; returns the requests that had joined, as a list.
struct request *lane_drop_fills(struct lane *lane, struct request *request);
void lane_connect(struct lane *lane);
void lane_flush(struct lane *lane);
void lane_tick(struct lane *lane, uint64_t now_ns); // vouching, store-timeout
// lane_greet.c
void lane_greet(struct lane *lane);
// ROLE: proves that everything the store pushed before has been read, and what the node still is.
// The answer vouches for the lane's entries as of when it was sent.
int lane_ask_role(struct lane *lane, struct fence *fence);
// Changes tracking to the node's mode. Nothing filled before may be served after.
void lane_track(struct lane *lane);
// lane_reply.c
void lane_input(struct lane *lane, struct slice bytes);
// Markers whose turn has come.
void lane_markers(struct lane *lane);
