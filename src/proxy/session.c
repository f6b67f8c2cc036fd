// Private connections.
//
//   idle pool ─┐
//              ├─ attach ─► forward requests ─► replies ─► held ─ fence ─► client ─┬─► pool (clean)
//   connect ───┘               ▲    │                                              └─► closed
//                              └────┘  while MULTI, WATCH, a subscription or replies keep it
//
// Replies are only counted, not matched: the state that keeps a connection (MULTI, WATCH, …)
// changes as the requests pass, and the connection is free when as many replies have come as
// requests were sent. In RESP2 a subscription's replies can't be counted: it keeps the connection
// until weir's own PING behind an UNSUBSCRIBE says that nothing is left. In RESP3 its
// acknowledgements are pushes, which are no replies. MONITOR keeps the connection until the client
// goes.
//
// Bytes of a reply that began before the last fence pass at once: the store had made that reply
// when its first byte came. So a reply of any size costs one fence.
#include "base/check.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "proxy/client.h"
#include "proxy/core.h"
#include "proxy/session_parts.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { IDLE_SECONDS = 30 };

size_t session_bytes(void)
{
    return sizeof(struct session);
}

// ---- quotas
// --------------------------------------------------------------------------------------

static _Atomic uint32_t *quota_counter(struct node *node, enum quota quota)
{
    return quota == QUOTA_BLOCKING ? &node->private_blocking : &node->private_transactions;
}

static bool quota_take(struct session *session, enum quota quota)
{
    const struct config *config = &session->worker->settings->config;
    uint32_t most =
        quota == QUOTA_BLOCKING ? config->private_blocking : config->private_transactions;
    _Atomic uint32_t *used = quota_counter(session->node, quota);
    if (session->quota == quota)
        return true;
    if (atomic_fetch_add(used, 1) >= most) {
        atomic_fetch_sub(used, 1);
        return false;
    }
    if (session->quota != QUOTA_NONE)
        atomic_fetch_sub(quota_counter(session->node, session->quota), 1);
    session->quota = quota;
    return true;
}

static void quota_give(struct session *session)
{
    if (session->quota != QUOTA_NONE)
        atomic_fetch_sub(quota_counter(session->node, session->quota), 1);
    session->quota = QUOTA_NONE;
}

static void refuse_quota(struct client *client, enum quota quota)
{
    const struct config *config = &client->worker->settings->config;
    char line[160];
    snprintf(line, sizeof line, "-ERR weir: all %u private connections for %s are in use (%s)\r\n",
             quota == QUOTA_BLOCKING ? config->private_blocking : config->private_transactions,
             quota == QUOTA_BLOCKING ? "blocking commands and subscriptions"
                                     : "transactions and scripts",
             quota == QUOTA_BLOCKING ? "private-blocking" : "private-transactions");
    worker_count(client->worker, METRIC_private_refused_total, 1);
    client_append_text(client, line);
}

// ---- life
// ----------------------------------------------------------------------------------------

void session_mark_dirty(struct session *session)
{
    if (session->dirty)
        return;
    session->dirty = true;
    session->dirty_next = session->worker->session_dirty;
    session->worker->session_dirty = session;
}

static void session_destroy(struct session *session)
{
    struct worker *worker = session->worker;
    struct session **link = &worker->session_dirty;
    while (*link != NULL && *link != session)
        link = &(*link)->dirty_next;
    if (*link != NULL)
        *link = session->dirty_next;
    link = &worker->session_idle;
    while (*link != NULL && *link != session)
        link = &(*link)->next;
    if (*link != NULL)
        *link = session->next;
    if (!session->broken) {
        loop_remove(worker->loop, &session->io);
        net_close(session->io.fd);
    }
    buf_clear(&session->out, &worker->blocks);
    buf_clear(&session->held, &worker->blocks);
    quota_give(session);
    atomic_fetch_sub(&session->node->private_total, 1);
    slab_return(&worker->session_slab, session);
}

static bool put_words(struct session *session, const char *const *words, unsigned count)
{
    uint8_t frame[1024];
    size_t size = resp_put_header(frame, '*', count);
    for (unsigned i = 0; i < count; i++) {
        if (size + strlen(words[i]) + 2 * RESP_HEAD_ROOM > sizeof frame)
            return false;
        size += resp_put_bulk(frame + size, slice_str(words[i]));
    }
    session->swallow++;
    return buf_append(&session->out, &session->worker->blocks, slice_of(frame, size)) == 0;
}

#define PUT(session, ...)                                                                          \
    put_words(session, (const char *const[]){__VA_ARGS__},                                         \
              sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

// The first words: protocol, credentials, database, as far as the connection does not have them.
static bool introduce(struct session *session, bool fresh)
{
    const struct node *node = session->node;
    const struct client_identity *identity = &session->client->identity;
    const char *user = node->user[0] != '\0' ? node->user : "default";
    bool ok = true;
    if (fresh && identity->protocol == 2 && node->password[0] != '\0')
        ok = node->user[0] != '\0' ? PUT(session, "AUTH", user, node->password)
                                   : PUT(session, "AUTH", node->password);
    else if (fresh && identity->protocol == 3 && node->password[0] != '\0')
        ok = PUT(session, "HELLO", "3", "AUTH", user, node->password);
    else if (session->protocol != identity->protocol)
        ok = PUT(session, "HELLO", identity->protocol == 3 ? "3" : "2");
    if (ok && session->db != identity->db) {
        char db[8];
        snprintf(db, sizeof db, "%u", identity->db);
        ok = PUT(session, "SELECT", db);
    }
    session->protocol = identity->protocol;
    session->db = identity->db;
    return ok;
}

static struct session *connect_new(struct worker *worker, struct node *node)
{
    struct session *session = slab_borrow(&worker->session_slab);
    if (session == NULL)
        return NULL;
    int fd = net_connect(&node->address);
    if (fd < 0) {
        slab_return(&worker->session_slab, session);
        return NULL;
    }
    session->io =
        (struct loop_fd){.fd = fd, .events = LOOP_READ | LOOP_WRITE, .ready = session_ready};
    session->worker = worker;
    session->node = node;
    session->protocol = 2;
    session->connecting = session->reading = true;
    session->deadline_ns = worker->now_ns + CLOCK_MS(worker->settings->config.connect_timeout_ms);
    if (loop_add(worker->loop, &session->io) != 0) {
        net_close(fd);
        slab_return(&worker->session_slab, session);
        return NULL;
    }
    atomic_fetch_add(&node->private_total, 1);
    worker_count(worker, METRIC_store_connects_total, 1);
    return session;
}

// Lends a connection to the client, or answers why not.
static struct session *attach(struct client *client, enum quota quota)
{
    struct worker *worker = client->worker;
    struct node *node = proxy_node(worker->proxy);
    struct session *session = worker->session_idle;
    bool fresh = session == NULL;
    if (fresh)
        session = connect_new(worker, node);
    else
        worker->session_idle = session->next;
    if (session == NULL) {
        char line[CONFIG_TEXT + 64];
        snprintf(line, sizeof line, "-ERR weir: %s down, not applied\r\n", node->name);
        worker_count(worker, METRIC_store_errors_total, 1);
        client_append_text(client, line);
        return NULL;
    }
    session->client = client;
    resp_scan_init(&session->scan);
    if (!quota_take(session, quota) || !introduce(session, fresh)) {
        if (session->quota == QUOTA_NONE)
            refuse_quota(client, quota);
        else
            client_append_text(client, "-ERR weir: out of buffer memory, not applied\r\n");
        session_destroy(session);
        return NULL;
    }
    client->session = session;
    metric_add(&worker->metrics, METRIC_private_connections, 1);
    return session;
}

// Back to the pool when nothing is left on it, else closed.
static void detach(struct session *session)
{
    struct worker *worker = session->worker;
    session->client->session = NULL;
    session->client = NULL;
    metric_add(&worker->metrics, METRIC_private_connections, (uint64_t)-1);
    quota_give(session);
    if (session->unclean || session->out.size > 0 || session->outstanding > 0 ||
        session->connecting) {
        session_destroy(session);
        return;
    }
    session->blocking = session->started = session->reask = false;
    session->ready = session->skipped = 0;
    session->idle_since_ns = worker->now_ns;
    session->next = worker->session_idle;
    worker->session_idle = session;
}

void session_abandon(struct client *client)
{
    struct session *session = client->session;
    session->unclean = true;
    client->streaming = false;
    if (session->fence != NULL)
        session->fence->client = NULL; // it comes back to nobody
    detach(session);
}

static bool session_keeps(const struct session *session)
{
    return session->in_multi || session->watching || session->subscribed;
}

void session_end_if_done(struct session *session)
{
    struct client *client = session->client;
    if (client->stalled && !session_pending(client))
        client_resume(client);
    if (session->outstanding > 0 || session->held.size > 0 || session->fencing ||
        session->frame_open || client->streaming)
        return;
    session->blocking = session->started = false;
    if (session_keeps(session)) {
        if (session->broken)
            client_close_after_reply(client); // its transaction has gone with the connection
        return;
    }
    bool reask = session->reask;
    detach(session);
    client_resume(client);
    if (reask) {
        client->in_private = false;
        request_reask_done(client);
    }
}

// What was received whole is still the client's: it waits for its fence, and what is owed behind it
// is answered by `line`. False when that can't be said.
static bool outlive(struct session *session, const char *line)
{
    struct worker *worker = session->worker;
    for (; session->outstanding > 0; session->outstanding--)
        if (buf_append(&session->held, &worker->blocks, slice_str(line)) != 0)
            return false;
    loop_remove(worker->loop, &session->io);
    net_close(session->io.fd);
    buf_clear(&session->out, &worker->blocks);
    session->broken = session->unclean = session->reading = true;
    return true;
}

// The store closed the connection or it broke.
void session_lost(struct session *session, const char *why)
{
    struct client *client = session->client;
    struct worker *worker = session->worker;
    if (client == NULL) {
        session_destroy(session);
        return;
    }
    bool waited = session->outstanding > 0, began = session->started || session->frame_open;
    bool kept = session_keeps(session) || client->streaming, reask = session->reask;
    bool unsent = session->connecting;
    log_write(LOG_INFO, "private connection lost", "node=%s reason=\"%s\"", session->node->name,
              why);
    worker_count(worker, METRIC_store_errors_total, waited);
    char line[CONFIG_TEXT + 64];
    snprintf(line, sizeof line, "-ERR weir: %s lost, %s\r\n", session->node->name,
             unsent ? "not applied" : "outcome unknown");
    if (session->skipping && session->outstanding > 0) {
        session->outstanding--; // CLIENT REPLY SKIP: nothing is owed for it
        session->skipping = false;
    }
    uint64_t owed = session->outstanding + session->ready; // what is held has not been fenced
    bool waits = session->fencing && !session->frame_open && !client->streaming && owed <= 64;
    if (waits && outlive(session, line))
        return;
    began |= waits;
    owed -= session->skipped > 0;
    session_abandon(client);
    client->in_private = false;
    if (began || owed > 64) {
        client_close(client); // in the middle of a reply nothing can be said
        return;
    }
    for (uint64_t i = 0; i < owed; i++)
        client_append_text(client, line);
    if (client->doomed)
        return;
    if (kept)
        client_close_after_reply(client); // its transaction or subscription is gone
    else if (reask)
        request_reask_done(client);
    client_resume(client);
}

// ---- requests
// ------------------------------------------------------------------------------------

static enum quota quota_of(const struct command *command)
{
    return command->flags & (COMMAND_BLOCKING | COMMAND_PUBSUB) || command->id == COMMAND_MONITOR
               ? QUOTA_BLOCKING
               : QUOTA_TRANSACTIONS;
}

static void leave_multi(struct session *session)
{
    session->in_multi = session->watching = false;
    session->multi_selects = session->multi_subscribes = false;
}

// Will the store carry it out? With a wrong number of arguments it changes nothing, except that
// EXEC ends its transaction. Of a request that passes in pieces only is known that it is large.
static bool fits_arity(const struct parsed *parsed)
{
    int arity = parsed->command->arity;
    uint32_t argc = parsed->request.argc;
    if (parsed->command->id == COMMAND_EXEC)
        return true;
    return arity >= 0 ? argc == (uint32_t)arity : argc == 0 || argc >= (uint32_t)-arity;
}

static bool subscribes(enum command_id id)
{
    return id == COMMAND_SUBSCRIBE || id == COMMAND_PSUBSCRIBE || id == COMMAND_SSUBSCRIBE;
}

static bool unsubscribes(enum command_id id)
{
    return id == COMMAND_UNSUBSCRIBE || id == COMMAND_PUNSUBSCRIBE || id == COMMAND_SUNSUBSCRIBE;
}

// Will it be answered by a reply, or by pushes alone?
static bool has_reply(const struct session *session, const struct parsed *parsed)
{
    enum command_id id = parsed->command->id;
    return session->protocol == 2 || session->in_multi || !fits_arity(parsed) ||
           !(subscribes(id) || unsubscribes(id));
}

// What the command does to the connection's state, as it passes.
static void note_command(struct session *session, const struct parsed *parsed)
{
    struct client *client = session->client;
    int64_t db;
    session->flushes |= (parsed->command->flags & COMMAND_FLUSH) != 0;
    if (!fits_arity(parsed))
        return;
    switch (parsed->command->id) {
    case COMMAND_MULTI:
        session->in_multi = true;
        return;
    case COMMAND_EXEC:
        if (!session->in_multi)
            return;                                     // an error, which leaves what is watched
        session->exec_selects = session->multi_selects; // if it is carried out: see exec_answered
        session->subscribed |= session->multi_subscribes;
        leave_multi(session);
        return;
    case COMMAND_DISCARD:
        if (session->in_multi)
            leave_multi(session);
        return;
    case COMMAND_WATCH:
        session->watching |= !session->in_multi;
        return;
    case COMMAND_UNWATCH:
        session->watching &= session->in_multi;
        return;
    case COMMAND_SELECT:
        if (parsed->request.argc == 2 && slice_to_i64(parsed->request.argv[1], &db) == 0 &&
            db >= 0 && db < LIMIT_DBS) {
            if (session->in_multi)
                session->multi_db = (uint8_t)db;
            else
                client->identity.db = (uint8_t)db;
            session->multi_selects |= session->in_multi;
            session->unclean = true;
        }
        return;
    case COMMAND_SUBSCRIBE:
    case COMMAND_PSUBSCRIBE:
    case COMMAND_SSUBSCRIBE:
    case COMMAND_UNSUBSCRIBE:
    case COMMAND_PUNSUBSCRIBE:
    case COMMAND_SUNSUBSCRIBE:
    case COMMAND_MONITOR:
    case COMMAND_SYNC:
    case COMMAND_PSYNC:
        session->subscribed |= !session->in_multi;
        session->multi_subscribes |= session->in_multi && !unsubscribes(parsed->command->id);
        session->monitoring |= parsed->command->id == COMMAND_MONITOR && !session->in_multi;
        session->unclean = true;
        return;
    case COMMAND_ASKING:
    case COMMAND_READONLY:
    case COMMAND_READWRITE:
        session->unclean = true;
        return;
    case COMMAND_SCRIPT: // DEBUG YES
        session->unclean |= parsed->request.argc > 1 && slice_is(parsed->request.argv[1], "debug");
        return;
    default: // what weir answers itself outside of MULTI is about the connection: HELLO, CLIENT
        session->unclean |=
            parsed->command->id == COMMAND_UNKNOWN || parsed->command->route == ROUTE_LOCAL;
        session->blocking |= (parsed->command->flags & COMMAND_BLOCKING) && !session->in_multi;
    }
}

// The one reply that the client does not want is the next to come: CLIENT REPLY waits for all
// before it. It is fenced like any other, for the client's next read may be a hit.
static void note_skip(struct session *session)
{
    if (session->client->reply_mode != REPLY_SKIP)
        return;
    session->skipping = true;
    session->client->reply_mode = REPLY_ON;
}

// Behind an UNSUBSCRIBE: is any subscription left? Without memory to ask, there may be.
static void probe(struct session *session)
{
    uint8_t ping[SUBSCRIPTION_PING];
    uint64_t seed[] = {(uintptr_t)session, session->worker->now_ns};
    size_t size =
        subscription_probe(&session->subscription, hash_key(slice_of(seed, sizeof seed)), ping);
    if (buf_append(&session->out, &session->worker->blocks, slice_of(ping, size)) != 0)
        session->subscription.probing = false;
}

void session_probed(struct session *session)
{
    session->frame_open = session->frame_released = false;
    resp_scan_init(&session->scan);
    if (session->subscription.channels || session->subscription.shards)
        return;
    session->subscribed = false;
    session->outstanding = 0; // acknowledgements were counted as replies in RESP2
}

static enum request_verdict forward(struct session *session, const struct parsed *parsed)
{
    struct client *client = session->client;
    if (buf_append(&session->out, &session->worker->blocks, parsed->request.frame) != 0) {
        client_close(client);
        return REQUEST_CLOSED;
    }
    note_command(session, parsed);
    note_skip(session);
    session->outstanding += has_reply(session, parsed);
    if (unsubscribes(parsed->command->id) && !session->in_multi)
        probe(session);
    worker_count(session->worker, METRIC_store_requests_total, 1);
    session_mark_dirty(session);
    return REQUEST_STARTED;
}

enum request_verdict session_one_shot(struct client *client, const struct parsed *parsed)
{
    if (client->first != NULL)
        return REQUEST_STALLED;
    struct session *session = attach(client, quota_of(parsed->command));
    return session == NULL ? REQUEST_STARTED : forward(session, parsed);
}

enum request_verdict session_open(struct client *client, const struct parsed *parsed)
{
    return session_one_shot(client, parsed);
}

enum request_verdict session_request(struct client *client, const struct parsed *parsed)
{
    struct session *session = client->session;
    enum quota quota = quota_of(parsed->command);
    if (session->exec_selects || session->subscription.probing)
        return REQUEST_STALLED; // which database will it concern? who will answer it?
    if (session->broken || session->out.size > worker_client_room(session->worker) / 2)
        return REQUEST_STALLED;
    if (!session_keeps(session) && parsed->command->route == ROUTE_LANE)
        return REQUEST_STALLED; // until the session has ended
    if (quota == QUOTA_BLOCKING && session->quota != quota && !session->in_multi) {
        if (session->outstanding > 0 || session->held.size > 0)
            return REQUEST_STALLED;
        if (!quota_take(session, quota)) {
            refuse_quota(client, quota);
            return REQUEST_STARTED;
        }
    }
    return forward(session, parsed);
}

void session_reask(struct client *client, const struct parsed *parsed)
{
    struct session *session = attach(client, QUOTA_TRANSACTIONS);
    if (session == NULL) {
        if (!client->doomed)
            request_reask_done(client); // attach has answered why
        return;
    }
    session->reask = client->in_private = true;
    forward(session, parsed);
}

// ---- streaming
// -----------------------------------------------------------------------------------

void session_stream(struct client *client, struct slice head)
{
    size_t cursor = 0;
    struct slice name = {0};
    resp_arg_next(head, &cursor, &name);
    struct parsed parsed = {.command = command_find(name)};
    struct session *session = client->session;
    if (parsed.command->route == ROUTE_LOCAL) {
        client_append_text(client, "-ERR weir: request too large for this command\r\n");
        client_close_after_reply(client);
        return;
    }
    if (session == NULL)
        session = attach(client, quota_of(parsed.command));
    if (session == NULL) {
        client_close_after_reply(client); // the request itself can't be skipped
        return;
    }
    client->streaming = true;
    client->last_command = parsed.command;
    note_command(session, &parsed);
    note_skip(session);
    buf_move(&session->out, &client->in);
    session->outstanding += has_reply(session, &parsed);
    session_mark_dirty(session);
}

size_t session_stream_input(struct client *client, struct slice bytes)
{
    struct session *session = client->session;
    long n = resp_scan_feed(&client->scan, bytes);
    if (n < 0 ||
        buf_append(&session->out, &session->worker->blocks, slice_of(bytes.data, (size_t)n)) != 0) {
        client_close(client);
        return bytes.size;
    }
    session_mark_dirty(session);
    if (client->scan.done) {
        client->streaming = client->scanning = false;
        session_end_if_done(session);
    }
    return (size_t)n;
}

bool session_full(const struct client *client)
{
    const struct session *session = client->session;
    return session != NULL && session->out.size > worker_client_room(session->worker) / 2;
}

// ---- what others ask
// -----------------------------------------------------------------------------

bool session_waits(const struct client *client)
{
    return client->session->blocking || client->session->subscribed;
}

bool session_kept(const struct client *client)
{
    return client->session != NULL && session_keeps(client->session);
}

bool session_in_multi(const struct client *client)
{
    return client->session != NULL && client->session->in_multi;
}

bool session_subscribed(const struct client *client)
{
    return client->session != NULL && client->session->subscribed;
}

bool session_pending(const struct client *client)
{
    const struct session *session = client->session;
    if (session == NULL || session->subscription.probing)
        return session != NULL;
    if (session->subscribed) // messages may always be held; in RESP2 weir answers nothing meanwhile
        return session->protocol == 3 && (session->outstanding > 0 || session->ready > 0);
    return session->outstanding > 0 || session->held.size > 0;
}

// ---- the worker's rounds
// -------------------------------------------------------------------------

static void flush(struct session *session)
{
    struct worker *worker = session->worker;
    if (session->connecting || session->broken)
        return;
    while (session->out.size > 0) {
        struct iovec vectors[64];
        ssize_t n = net_writev(session->io.fd, vectors, buf_vectors(&session->out, vectors, 64));
        if (n == WEIR_EAGAIN) {
            session_set_events(session, session->io.events | LOOP_WRITE);
            return;
        }
        if (n < 0) {
            session_lost(session, weir_strerror((int)n));
            return;
        }
        worker_count(worker, METRIC_store_sent_bytes_total, (uint64_t)n);
        buf_consume(&session->out, &worker->blocks, (size_t)n);
    }
    session_set_events(session, session->io.events & ~(uint32_t)LOOP_WRITE);
    if (session->client != NULL && session->client->stalled)
        client_resume(session->client);
}

void sessions_flush(struct worker *worker)
{
    while (worker->session_dirty != NULL) {
        struct session *session = worker->session_dirty;
        worker->session_dirty = session->dirty_next;
        session->dirty = false;
        flush(session);
    }
}

// About once a second for each client: a store that can't be reached, without a word why.
void session_tick(struct client *client)
{
    struct session *session = client->session;
    if (session->connecting && session->worker->now_ns > session->deadline_ns)
        session_lost(session, "connect-timeout");
}

void sessions_tick(struct worker *worker)
{
    struct session **link = &worker->session_idle;
    while (*link != NULL) {
        struct session *session = *link;
        if (worker->now_ns - session->idle_since_ns > IDLE_SECONDS * CLOCK_MS(1000))
            session_destroy(session); // takes itself out of the list
        else
            link = &session->next;
    }
}

void sessions_close_idle(struct worker *worker)
{
    while (worker->session_idle != NULL)
        session_destroy(worker->session_idle);
}
