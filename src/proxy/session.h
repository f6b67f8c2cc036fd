#pragma once
// Private connections: a connection to the node lent to one client, for what can't be shared:
// transactions, blocking commands, subscriptions, scripts, requests and replies too large to wait in
// memory. It speaks the client's own protocol, so bytes pass through as they are.
//
// What comes back is handed to the client only after a fence on the node's lanes: what the client
// has learnt there it must not find older in the cache.
#include "proxy/request.h"

struct session;

size_t session_bytes(void);
// A command alone: scripts, blocking commands, KEYS, what is unknown. The connection goes back to the
// pool with the reply.
enum request_verdict session_one_shot(struct client *client, const struct parsed *parsed);
// A command that keeps its connection: MULTI, WATCH, SUBSCRIBE, MONITOR.
enum request_verdict session_open(struct client *client, const struct parsed *parsed);
// The client has a session: the command goes there, or waits until it has ended.
enum request_verdict session_request(struct client *client, const struct parsed *parsed);
// The head of the client's queue, asked again because its reply was too large for the lane.
void session_reask(struct client *client, const struct parsed *parsed);
// The large request that begins the client's input (`head` holds its first bytes) passes through.
void session_stream(struct client *client, struct slice head);
size_t session_stream_input(struct client *client, struct slice bytes);
bool session_full(const struct client *client); // no more input now

// A fence that the client's session waited for has been answered, or there was no memory for one:
// then what is held must not be shown, and the client is closed.
void session_fenced(struct client *client, bool failed);
// Would nobody miss the reply if the client has gone (blocked, subscribed)?
bool session_waits(const struct client *client);
bool session_kept(const struct client *client); // by MULTI, WATCH or a subscription
bool session_in_multi(const struct client *client);
bool session_subscribed(const struct client *client); // or MONITOR: stays until the client goes
bool session_pending(const struct client *client);    // replies are to come
// The client goes, or resets: the connection is closed.
void session_abandon(struct client *client);
// The client's output has room again.
void session_drained(struct client *client);

void session_tick(struct client *client);

void sessions_flush(struct worker *worker);
void sessions_tick(struct worker *worker);
void sessions_close_idle(struct worker *worker);
