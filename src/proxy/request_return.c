// A request's way back: from the node's thread to its client, and from there, in the order of the
// client's requests, to the client's output (the picture is in request.h).
//
// A reply that came in its turn goes out at once; one that came early waits in the request. What
// came without a reply (a marker that missed, a reply too large, a lost connection) is asked again
// when it is first in line, and so is every read sent behind it: they were answered from an earlier
// moment.
#include "base/check.h"
#include "base/err.h"
#include "proxy/client.h"
#include "proxy/core.h"
#include "proxy/local.h"
#include "proxy/near.h"
#include "proxy/request.h"
#include "proxy/session.h"
#include <stdio.h>

enum { MUCH_PENDING = 16 * BLOCK_BYTES }; // output that counts as a backlog

static void give_back(struct worker *here, struct request *request)
{
    if (request->worker == here)
        request_returned(request);
    else
        worker_send(here, request->worker->index, &request->mail, MAIL_RETURNED);
}

static enum resp2_shape shape_of(const struct request *request)
{
    if (request->flags & REQUEST_FAILED)
        return RESP2_PLAIN;
    return request->flags & REQUEST_NULL_ARRAY ? RESP2_NULL_ARRAY : request->command->shape;
}

static void deliver(struct client *client, struct request *request, struct slice reply, bool resp3)
{
    struct worker *worker = client->worker;
    worker_latency(worker, request->flags & REQUEST_HIT ? LATENCY_CACHE : LATENCY_STORE,
                   request->command->id, worker->now_ns - request->start_ns, 1);
    if ((worker->now_ns - request->start_ns) / 1000 > worker->settings->config.slowlog_us)
        local_slow(client, request);
    if (request->flags & REQUEST_ADD_INFO && local_add_info(client, request, reply))
        return;
    client_append_reply(client, reply, resp3, shape_of(request));
}

static bool write_behind(const struct request *request)
{
    const struct request *later = request->next;
    while (later != NULL && later->reads)
        later = later->next;
    return later != NULL;
}

// A client that reads more slowly than it asks: past its room, reads are asked again when there is
// room. What can't be asked again, or has a write behind it, is kept as long as there is memory.
static bool overflows(const struct client *client, const struct request *request, size_t size)
{
    size_t pending = client_pending(client);
    return pending > MUCH_PENDING && (request->flags & REQUEST_READ) &&
           pending + size > worker_client_room(client->worker) && !write_behind(request);
}

// A reply that waits for its turn. A short one stands behind the frame: a block for each of many
// small replies would use up the buffers.
static uint8_t *small_room(struct request *request, size_t *room)
{
    size_t used = request->frame_size <= REQUEST_INLINE_BYTES ? request->frame_size : 0;
    *room = REQUEST_INLINE_BYTES - used;
    return request->frame + used;
}

static int hold_reply(struct worker *here, struct request *request, struct slice reply)
{
    size_t room;
    uint8_t *small = small_room(request, &room);
    if (reply.size > room) {
        // What can be asked again must not wait in the memory that others need.
        if ((request->flags & REQUEST_READ) && reply.size > BLOCK_ROOM &&
            reply.size > worker_client_room(here))
            return WEIR_ENOMEM;
        return buf_append(&request->reply, &here->blocks, reply);
    }
    memcpy(small, reply.data, reply.size);
    request->small_size = (uint8_t)reply.size;
    return 0;
}

static void drop_reply(struct worker *here, struct request *request)
{
    request->small_size = 0;
    buf_clear(&request->reply, &here->blocks);
}

static size_t held_size(const struct request *request)
{
    return request->small_size + request->reply.size;
}

void request_answer(struct worker *here, struct request *request, struct slice reply, bool resp3)
{
    struct client *client = request->worker == here ? request->client : NULL;
    if (resp3)
        request->flags |= REQUEST_RESP3;
    if (client != NULL && overflows(client, request, reply.size)) {
        request_return(here, request);
        return;
    }
    if (client != NULL && client->first == request && !request->discard) {
        request->away = false;
        request_set_state(request, REQUEST_DONE);
        deliver(client, request, reply, resp3);
        if (client->doomed)
            return; // shed by its own reply, and the request with it
        request_dequeue(client);
        request_release(request);
        request_turns(client);
        return;
    }
    if (hold_reply(here, request, reply) != 0)
        request->flags |= REQUEST_LARGE;
    request_return(here, request);
}

void request_fail(struct worker *here, struct request *request, const char *line)
{
    request->flags |= REQUEST_FAILED;
    worker_count(here, METRIC_store_errors_total, 1);
    request_answer(here, request, slice_str(line), false);
}

void request_return(struct worker *here, struct request *request)
{
    give_back(here, request);
}

// Everything behind `from` that was sent to the lane was read too early.
static void discard_behind(struct client *client, struct request *from)
{
    for (struct request *request = from->next; request != NULL; request = request->next) {
        if (!request->away && request->state == REQUEST_REASK)
            continue;
        if (!request->reads) {
            client_close(client); // a write was sent behind a reply too large to keep
            return;
        }
        if (request->away) {
            request_set_discard(request, true);
            continue;
        }
        drop_reply(client->worker, request);
        request_set_state(request, REQUEST_REASK);
    }
}

// What it gets for a reply when its own can't be had.
static void answer_instead(struct client *client, struct request *request, const char *line)
{
    request->flags = (request->flags & ~(uint32_t)(REQUEST_LARGE | REQUEST_RESP3)) | REQUEST_FAILED;
    drop_reply(client->worker, request);
    if (hold_reply(client->worker, request, slice_str(line)) != 0)
        client_close(client);
}

// Its connection was lost. Asked again behind a write of the same client it would read what the
// client had not yet written, so then it fails.
static void returned_lost(struct client *client, struct request *request)
{
    request->flags = (request->flags & ~(uint32_t)REQUEST_LOST) | REQUEST_RETRIED;
    if (!write_behind(request)) {
        worker_count(client->worker, METRIC_store_retries_total, 1);
        return;
    }
    char line[CONFIG_TEXT + 64];
    snprintf(line, sizeof line, "-ERR weir: %s lost, outcome unknown\r\n",
             request->lane->node->name);
    answer_instead(client, request, line);
}

// Its reply was too large to keep. A write can't be repeated, nor a read behind which a write was
// sent: the client is told.
static void returned_large(struct client *client, struct request *request)
{
    if (!request->reads && request->flags & REQUEST_FAILED)
        client_close(client); // no memory even to say that it failed
    else if (!request->reads)
        answer_instead(client, request,
                       "-ERR weir: applied, but its reply is larger than "
                       "client-buffer, or than the memory left\r\n");
    else if (write_behind(request))
        answer_instead(client, request,
                       "-ERR weir: its reply is larger than client-buffer, or than the "
                       "memory left, and a write was sent behind it\r\n");
}

static void returned_unanswered(struct client *client, struct request *request)
{
    drop_reply(client->worker, request);
    request_set_state(request, REQUEST_REASK);
    discard_behind(client, request);
}

void request_returned(struct request *request)
{
    struct client *client = request->client;
    if (client == NULL) {
        request_release(request);
        return;
    }
    request->away = false;
    if (request->flags & REQUEST_SESSION_FENCE) {
        bool failed = (request->flags & REQUEST_FAILED) != 0;
        request_release(request);
        session_fenced(client, failed);
        return;
    }
    if (request->flags & REQUEST_LOST)
        returned_lost(client, request);
    else if (request->flags & REQUEST_LARGE)
        returned_large(client, request);
    if (client->doomed)
        return;
    bool discard = request->discard;
    request_set_discard(request, false);
    if (request->state == REQUEST_FENCE)
        request->flags |= REQUEST_FENCED;
    if (discard || request->flags & REQUEST_LARGE || held_size(request) == 0 ||
        overflows(client, request, held_size(request)))
        returned_unanswered(client, request);
    else
        request_set_state(request, REQUEST_DONE);
    request_turns(client);
}

// ---- turns
// ---------------------------------------------------------------------------------------

static void deliver_held(struct client *client, struct request *request)
{
    struct worker *worker = client->worker;
    bool resp3 = (request->flags & REQUEST_RESP3) != 0;
    bool rewrite = resp3 || shape_of(request) == RESP2_FLAT_PAIRS;
    bool whole = request->flags & REQUEST_ADD_INFO || (rewrite && client->identity.protocol == 2);
    if (whole && request->reply.size > worker->join_room) {
        client_close(client);
        return;
    }
    if (request->small_size > 0) {
        size_t room;
        deliver(client, request, slice_of(small_room(request, &room), request->small_size), resp3);
        return;
    }
    if (whole || request->reply.size <= BLOCK_ROOM / 2) {
        size_t size = request->reply.size;
        buf_copy(&request->reply, worker->turn_scratch);
        deliver(client, request, slice_of(worker->turn_scratch, size), resp3);
        return;
    }
    worker_latency(worker, LATENCY_STORE, request->command->id, worker->now_ns - request->start_ns,
                   1);
    client_append_buf(client, &request->reply);
}

// First in line, and its answer was of no use: decide anew. Nothing else of this client is under
// way ahead of it, and nothing but REASK stands behind.
static void ask_again(struct client *client, struct request *request)
{
    struct worker *worker = client->worker;
    const struct node *node = proxy_node(worker->proxy);
    bool fenced = (request->flags & REQUEST_FENCED) != 0;
    struct parsed parsed = {.command = request->command, .hash = request->hash};
    static const struct resp_bounds bounds = {LIMIT_MULTIBULK_ARGS, LIMIT_BULK_BYTES, true};
    size_t need;
    CHECK(resp_request_parse(&parsed.request, request_frame(worker, request), &bounds, &need) > 0);
    worker_count(worker, METRIC_cache_reasked_total, 1);
    if (request->flags & REQUEST_LARGE) {
        session_reask(client, &parsed);
        return;
    }
    request->flags &= ~(uint32_t)(REQUEST_HIT | REQUEST_RESP3 | REQUEST_FAILED | REQUEST_FENCED);
    enum request_state state = REQUEST_QUEUED;
    struct near_query query;
    bool single = request->command->id != COMMAND_MGET;
    size_t room, size;
    uint8_t *out = client_compose(client, &room);
    if (client->doomed)
        return; // and the request with it
    enum near_verdict verdict = NEAR_OFF;
    if (!(request->flags & REQUEST_CACHEABLE))
        verdict = NEAR_OFF;
    else if (!single && node_caching(node))
        verdict = near_mget(worker, node, &parsed.request, request->db, client->identity.protocol,
                            fenced, out, room, &size);
    else if (single && near_query(&query, worker, node, request->command, &parsed.request,
                                  request->hash, request->db))
        verdict =
            near_fetch(worker, node, &query, fenced, client->identity.protocol, out, room, &size);
    if (verdict == NEAR_HIT) {
        client_composed(client, size);
        worker_hit(worker, request->command->id);
        if (!client->doomed)
            request_finish(client, request);
        return;
    }
    if (verdict == NEAR_STALE)
        state = REQUEST_FENCE;
    request->flags |= REQUEST_MAY_JOIN;
    request_submit(request, state);
}

// In time order: where a request may stand when its client's queue reaches it.
static bool take_turn(struct client *client, struct request *request)
{
    if (request->away)
        return false; // its state is the node's thread's to change
    switch (request->state) {
    case REQUEST_QUEUED:
    case REQUEST_SENT:
    case REQUEST_JOINED:
    case REQUEST_MARKER:
    case REQUEST_FENCE:
        break; // none of these is here
    case REQUEST_REASK:
        if (!client->in_private && !client_throttled(client))
            ask_again(client, request);
        return client->first != request && !client->doomed;
    case REQUEST_DONE:
        deliver_held(client, request);
        if (client->doomed)
            return false;
        request_dequeue(client);
        request_release(request);
        return true;
    case REQUEST_STATES:
        break;
    }
    CHECK(false);
    return false;
}

void request_turns(struct client *client)
{
    if (client->turning)
        return; // an answer given at once, from within take_turn
    client->turning = true;
    while (!client->doomed && client->first != NULL && take_turn(client, client->first))
        ;
    client->turning = false;
    if (client->doomed)
        return;
    if (client->first == NULL && (client->eof || client->closing))
        client_resume(client);
}

void request_hold(struct client *client, struct request *request)
{
    request_enqueue(client, request);
    request_set_state(request, REQUEST_FENCE);
    request->away = true; // until request_finish
}

void request_finish(struct client *client, struct request *request)
{
    request_set_state(request, REQUEST_DONE);
    request_dequeue(client);
    request_release(request);
}

void request_reask_done(struct client *client)
{
    CHECK(client->first != NULL && client->first->state == REQUEST_REASK);
    request_finish(client, client->first);
    request_turns(client);
}

void request_orphan(struct client *client)
{
    struct request *next;
    for (struct request *request = client->first; request != NULL; request = next) {
        next = request->next;
        request->client = NULL;
        request->next = NULL;
        if (!request->away)
            request_release(request);
    }
    client->first = client->last = NULL;
    client->asked = 0;
    client->outstanding = client->markers = client->discards = client->holds = client->writes = 0;
}
