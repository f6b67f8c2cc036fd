#pragma once
// A client connection: input, output, the queue of its requests, and what the protocol makes it
// remember (database, protocol version, name).
#include "base/buf.h"
#include "loop/loop.h"
#include "loop/mailbox.h"
#include "wire/resp.h"
#include "base/limits.h"

struct request;
struct session;
struct worker;

enum reply_mode {
    REPLY_ON,
    REPLY_OFF,
    REPLY_SKIP,     // of the next request: it starts alone, see request_start
    REPLY_SKIPPING, // until what it asked has been answered
};

enum {
    CLIENT_ADDRESS = 64,
    CLIENT_READ_BYTES = 32 * 1024,  // at once from one socket
    OUT_SHARED_BYTES = 256 * 1024,  // of the thread's scratch, for the replies of a round
};

struct client_identity { // what moves with a client to another thread
    int fd;
    uint64_t id;
    uint64_t created_ns;
    uint8_t protocol; // 2 or 3
    uint8_t db;
    bool authenticated;
    bool loopback;
    char address[CLIENT_ADDRESS], local[CLIENT_ADDRESS], name[LIMIT_CLIENT_NAME + 1];
    char user[32];
};

struct client {
    struct loop_fd io;
    struct worker *worker;
    struct client *next, *previous; // of the worker's list
    struct client *dirty_next, *resume_next, *doomed_next;
    struct client_identity identity;
    struct buf in;          // received, not yet consumed: part of a request, or stalled
    struct buf out;         // to be written
    struct slice region;    // to be written behind `out`: replies of this round, in the scratch
    struct resp_scan scan;  // of the incomplete request at the head of `in`, when `scanning`
    struct request *first, *last; // requests not yet answered, oldest first
    uint32_t outstanding; // requests in the queue
    size_t asked;         // bytes of them
    uint32_t markers;     // of them, in state MARKER: nothing but reads may follow yet
    uint32_t discards;    // of them, away to be asked again: the same
    uint32_t holds;       // of them, in state FENCE or REASK: nothing may follow yet
    uint32_t writes;      // of them, not reads
    uint32_t slept;         // requests in a row that had to wake the node's thread
    struct session *session;
    uint64_t active_ns, progress_ns; // last read; last time output moved
    const struct command *last_command;
    enum reply_mode reply_mode;
    bool turning;        // request_turns is at work
    bool inline_partial; // `in` begins with an incomplete inline request
    bool streaming;      // a large request passes through to the session
    bool reparse;        // how bytes are read has changed: parse again what was parsed ahead
    bool arrived; // among the worker's arrivals
    bool dirty, resuming, scanning, stalled, eof, closing, doomed;
    bool throttled;      // … because of client_throttled: goes on when output has moved
    bool in_private; // the head is asked again on a private connection
};

// Adopts a connection on the worker's thread.
int client_create(struct worker *worker, const struct client_identity *identity);
// Closes now; memory is freed at the end of the round, so callers may go on holding the pointer
// until they return to the loop.
void client_close(struct client *client);
// Closes when everything owed has been written.
void client_close_after_reply(struct client *client);

// Appends bytes of a reply, in the client's own protocol already. Out of memory sheds the client.
void client_append(struct client *client, struct slice bytes);
void client_append_text(struct client *client, const char *text);
// Moves a whole reply, in the client's protocol already; `bytes` is empty afterwards.
void client_append_buf(struct client *client, struct buf *bytes);
// A RESP3 reply of a store or of the cache, rewritten for a RESP2 client.
void client_append_reply(struct client *client, struct slice reply, bool resp3,
                         enum resp2_shape shape);
// Where the next reply may be composed in place, and how much fits there.
uint8_t *client_compose(struct client *client, size_t *room);
void client_composed(struct client *client, size_t size);
// Makes that room whole again by moving on what was composed. False when it was whole already.
bool client_spill(struct client *client);
// Bytes not yet written.
size_t client_pending(const struct client *client);

// Something the client waited for has passed: its input goes on at the end of this round.
void client_resume(struct client *client);
// Writes what can be written now.
void client_flush(struct client *client);
// Is it stopped, because it does not read its replies or because too much is outstanding?
bool client_throttled(const struct client *client);
// Moves an idle client to another thread.
bool client_may_move(const struct client *client);
void client_move(struct client *client, unsigned to);

// client_input.c: its socket has something to say.
void client_ready(struct loop_fd *io, uint32_t events);
// It has output to write at the end of the round, or must be looked at then.
void client_mark_dirty(struct client *client);
// Closes it for the good of the others; `why` is logged.
void client_shed(struct client *client, const char *why);
// Serves the clients that were read in this round.
void clients_serve(struct worker *worker);
// worker.c calls these at the end of a round.
void clients_resume(struct worker *worker);
void clients_flush(struct worker *worker);
void clients_free(struct worker *worker);
// Ten times a second: sheds one who does not read, when buffer memory is short.
void clients_relieve(struct worker *worker);
// About once a second for each client: idle timeout, stuck output.
void client_tick(struct client *client);
