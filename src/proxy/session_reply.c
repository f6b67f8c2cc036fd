// What comes back on a private connection: replies are counted, held for a fence, and given to the
// client (session.c tells the whole story).
//
// held ─ fence answered ─► client. A fence covers what was held when it was asked for; what comes
// meanwhile waits for the next one. The rest of a reply whose beginning has been given passes at
// once.
#include "base/check.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "proxy/client.h"
#include "proxy/core.h"
#include "proxy/session_parts.h"
#include <assert.h>
#include <stdio.h>

enum { READ_BYTES = 64 * 1024 };

// Gives the first `count` held bytes to the client.
static void release(struct session *session, size_t count)
{
    struct client *client = session->client;
    size_t skipped = count < session->skipped ? count : session->skipped;
    buf_consume(&session->held, &session->worker->blocks, skipped);
    session->skipped -= skipped;
    count -= skipped;
    if (count > 0)
        session->started = true;
    if (count == session->held.size) {
        session->ready = 0;
        session->frame_released = session->frame_open && session->subscription.withheld == 0;
        client_append_buf(client, &session->held);
        return;
    }
    while (count > 0 && !client->doomed) {
        struct iovec piece;
        buf_vectors(&session->held, &piece, 1);
        size_t n = piece.iov_len < count ? piece.iov_len : count;
        client_append(client, slice_of(piece.iov_base, n));
        if (!client->doomed)
            buf_consume(&session->held, &session->worker->blocks, n);
        count -= n;
    }
}

// Asks for a fence that covers what is held now; without a cache there is nothing to be fenced.
static void release_or_fence(struct session *session)
{
    struct worker *worker = session->worker;
    struct client *client = session->client;
    if (session->fencing || session->held.size == 0)
        return;
    struct request *request = NULL;
    // MONITOR shows the fence too, which would ask for the next one
    bool fence = node_caching(session->node) && !session->monitoring;
    if (fence)
        request = request_borrow(worker, slice_of(NULL, 0));
    if (request == NULL && fence) {
        client_close(client);
        return;
    }
    if (request == NULL) {
        release(session, session->held.size);
        return;
    }
    session->fencing = true;
    session->covered = session->held.size;
    session->covered_ready = session->ready;
    request->client = client;
    request->flags = REQUEST_SESSION_FENCE | REQUEST_READ;
    if (session->flushes)
        request->flags |= REQUEST_FLUSH;
    session->flushes &= session->in_multi || session->outstanding > 0;
    request->state = REQUEST_FENCE;
    request->lane = &session->node->lanes[session->db];
    session->fence = request;
    if (session->node->home == worker)
        node_accept(session->node, request);
    else
        worker_send(worker, session->node->home->index, &request->mail, MAIL_REQUEST);
}

void session_fenced(struct client *client, bool failed)
{
    struct session *session = client->session;
    if (session == NULL || !session->fencing)
        return;
    session->fencing = false;
    session->fence = NULL;
    if (failed) {
        client_close(client);
        return;
    }
    session->ready -= session->covered_ready;
    release(session, session->covered);
    if (client->doomed)
        return;
    release_or_fence(session);
    if (!client->doomed && client->session == session)
        session_end_if_done(session);
}

// EXEC behind a queued SELECT: an error or a null says that nothing of it was carried out.
static void session_exec_answered(struct session *session)
{
    session->exec_selects = false;
    if (session->scan.top_type == '*' && session->scan.top_count >= 0)
        session->client->identity.db = session->multi_db;
}

static void frame_done(struct session *session)
{
    session->frame_open = session->frame_released = false;
    bool push = session->scan.top_type == '>';
    session->skipping &= push;
    if (!push && session->outstanding > 0) {
        session->outstanding--;
        session->ready += session->held.size > 0;
    }
    if (!push && session->exec_selects && session->outstanding == 0)
        session_exec_answered(session);
    resp_scan_init(&session->scan);
}

static bool hold(struct session *session, struct slice bytes)
{
    struct client *client = session->client;
    bool skip = session->skipping && session->scan.top_type != '>';
    if (session->frame_released && session->held.size == 0) {
        if (!skip)
            client_append(client, bytes);
    } else if (buf_append(&session->held, &session->worker->blocks, bytes) != 0) {
        client_close(client);
    } else if (skip) {
        session->skipped += bytes.size;
    }
    return !client->doomed;
}

// Replies to weir's own first words end here. False when the connection is of no use.
static bool session_swallow(struct session *session, struct slice bytes)
{
    if (session->scan.frame_bytes == bytes.size)
        session->refused = bytes.size > 0 && bytes.data[0] == '-';
    if (!session->scan.done)
        return true;
    resp_scan_init(&session->scan);
    session->swallow--;
    return !session->refused;
}

// Part of a frame for the client. False when the client has gone.
static bool take_part(struct session *session, struct slice part)
{
    session->frame_open = true;
    if (session->subscribed) {
        struct slice before;
        switch (subscription_take(&session->subscription, part, session->scan.frame_bytes,
                                  session->scan.done, &before)) {
        case SUBSCRIPTION_WITHHOLD:
            return true;
        case SUBSCRIPTION_PROBED:
            session_probed(session);
            return true;
        case SUBSCRIPTION_SHOW:
            if (before.size > 0 && !hold(session, before))
                return false;
        }
    }
    if (!hold(session, part))
        return false;
    if (session->scan.done)
        frame_done(session);
    return true;
}

static void session_input(struct session *session, struct slice bytes)
{
    struct client *client = session->client;
    while (bytes.size > 0) {
        long n = resp_scan_feed(&session->scan, bytes);
        if (n < 0) {
            session_lost(session, "the store broke the protocol");
            return;
        }
        struct slice part = slice_of(bytes.data, (size_t)n);
        bytes = slice_of(bytes.data + n, bytes.size - (size_t)n);
        if (session->swallow > 0) {
            if (!session_swallow(session, part)) {
                session_lost(session, "the store refused weir's credentials or database");
                return;
            }
            continue;
        }
        if (!take_part(session, part))
            return;
    }
    release_or_fence(session);
    if (!client->doomed && client->session == session)
        session_end_if_done(session);
}

static bool over_full(const struct session *session)
{
    size_t room = worker_client_room(session->worker);
    return session->held.size + session->client->out.size > room / 2 + 1;
}

void session_set_events(struct session *session, uint32_t events)
{
    if (session->io.events != events)
        loop_modify(session->worker->loop, &session->io, events);
}

static void session_read(struct session *session)
{
    struct worker *worker = session->worker;
    if (session->client != NULL && over_full(session)) {
        session_set_events(session, session->io.events & ~(uint32_t)LOOP_READ);
        session->reading = false;
        return;
    }
    size_t most = worker_client_room(worker) / 2; // what is read now has to be held
    most = most > READ_BYTES ? READ_BYTES : most < BLOCK_BYTES ? BLOCK_BYTES : most;
    ssize_t n = net_read(session->io.fd, worker->read_scratch, most);
    worker->now_ns = clock_now_ns();
    if (n == WEIR_EAGAIN)
        return;
    if (n < 0 || session->client == NULL) {
        session_lost(session, n < 0 ? weir_strerror((int)n) : "unasked bytes");
        return;
    }
    worker_count(worker, METRIC_store_received_bytes_total, (uint64_t)n);
    session_input(session, slice_of(worker->read_scratch, (size_t)n));
}

void session_ready(struct loop_fd *io, uint32_t events)
{
    struct session *session = (struct session *)io;
    static_assert(offsetof(struct session, io) == 0, "io leads the session");
    if (session->connecting) {
        int result = net_connect_result(io->fd);
        if (result == WEIR_EAGAIN)
            return;
        if (result < 0) {
            session_lost(session, weir_strerror(result));
            return;
        }
        session->connecting = false;
        net_set_keepalive(io->fd, 60);
    }
    if (events & LOOP_WRITE)
        session_mark_dirty(session);
    if (events & (LOOP_READ | LOOP_HANGUP))
        session_read(session);
}

void session_drained(struct client *client)
{
    struct session *session = client->session;
    if (session->reading || over_full(session))
        return;
    session->reading = true;
    session_set_events(session, session->io.events | LOOP_READ);
}
