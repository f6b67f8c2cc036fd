// One command of one client, from its parse to its reply (the picture is in request.h).
//
// Order. Replies leave in the order of requests; requests reach the node in order, because one FIFO
// lane (and one mailbox before it) carries them. A hit must not overtake its client's own earlier
// commands: with requests outstanding it goes to the lane as a marker and is looked up when what
// stands before it has been answered. If that lookup misses, the reads sent behind it came too
// early: they are thrown away and asked again, in order (REASK). So nothing but reads may be sent
// behind a marker, and nothing at all behind a request that waits for a fence or is asked again.
//
// Rejected: looking markers up on the client's thread when its turn comes. On another thread the
// cache may have moved on by then, and a read behind the marker would answer from an older moment.
#include "proxy/request.h"
#include "base/check.h"
#include "base/err.h"
#include "base/hash.h"
#include "proxy/client.h"
#include "proxy/core.h"
#include "proxy/local.h"
#include "proxy/near.h"
#include "proxy/session.h"
#include <stdio.h>

const char *const request_state_names[REQUEST_STATES] = {
    "queued", "sent", "joined", "marker", "fence", "reask", "done",
};

// ---- memory
// --------------------------------------------------------------------------------------

struct request *request_borrow(struct worker *worker, struct slice frame)
{
    struct request *request = slab_borrow(&worker->request_slab);
    if (request == NULL)
        return NULL;
    request->worker = worker;
    request->frame_size = (uint32_t)frame.size;
    if (frame.size <= REQUEST_INLINE_BYTES) {
        if (frame.size > 0) // weir's own have none
            memcpy(request->frame, frame.data, frame.size);
    } else if (buf_append(&request->frame_rest,
                          frame.size <= BLOCK_ROOM ? &worker->vital : &worker->blocks,
                          frame) != 0) {
        slab_return(&worker->request_slab, request);
        return NULL;
    }
    return request;
}

void request_release(struct request *request)
{
    struct worker *worker = request->worker;
    CHECK(request->fills == NULL);
    buf_clear(&request->reply, &worker->blocks);
    buf_clear(&request->frame_rest, &worker->blocks);
    if (request->hash_block != NULL)
        block_return(&worker->blocks, request->hash_block);
    slab_return(&worker->request_slab, request);
}

struct slice request_frame(struct worker *worker, const struct request *request)
{
    if (request->frame_size <= REQUEST_INLINE_BYTES)
        return slice_of(request->frame, request->frame_size);
    CHECK(request->frame_size <= LIMIT_LANE_REQUEST);
    buf_copy(&request->frame_rest, worker->frame_scratch);
    return slice_of(worker->frame_scratch, request->frame_size);
}

// ---- the client's queue
// --------------------------------------------------------------------------

void request_enqueue(struct client *client, struct request *request)
{
    request->client = client;
    if (client->last != NULL)
        client->last->next = request;
    else
        client->first = request;
    client->last = request;
    client->outstanding++;
    client->asked += request->frame_size;
    request->reads = (request->flags & REQUEST_READ) != 0;
    if (!request->reads)
        client->writes++;
}

void request_dequeue(struct client *client)
{
    struct request *request = client->first;
    client->first = request->next;
    if (client->first == NULL)
        client->last = NULL;
    client->outstanding--;
    client->asked -= request->frame_size;
    if (!request->reads)
        client->writes--;
    if (client->stalled)
        client_resume(client);
}

void request_set_state(struct request *request, enum request_state state)
{
    struct client *client = request->client;
    if (client != NULL) {
        bool held = request->state == REQUEST_FENCE || request->state == REQUEST_REASK;
        bool holds = state == REQUEST_FENCE || state == REQUEST_REASK;
        client->holds += (uint32_t)holds - (uint32_t)held;
        client->markers +=
            (uint32_t)(state == REQUEST_MARKER) - (uint32_t)(request->state == REQUEST_MARKER);
    }
    request->state = state;
}

// Nothing but reads may follow until it has come back to be asked again.
void request_set_discard(struct request *request, bool discard)
{
    request->client->discards += (uint32_t)discard - (uint32_t)request->discard;
    request->discard = discard;
}

void request_submit(struct request *request, enum request_state state)
{
    struct worker *worker = request->worker;
    struct node *node = proxy_node(worker->proxy);
    request->lane = &node->lanes[request->db];
    request_set_state(request, state);
    request->away = true;
    if (node->home == worker)
        node_accept(node, request);
    else
        worker_send(worker, node->home->index, &request->mail, MAIL_REQUEST);
}

// ---- start
// ---------------------------------------------------------------------------------------

struct key_list {
    uint64_t *hash;
    uint32_t count, room;
};

static void collect_key(void *context, struct slice key)
{
    struct key_list *list = context;
    if (list->count < list->room)
        list->hash[list->count] = hash_key(key);
    list->count++;
}

// The hashes of all keys that a write names. WEIR_ERANGE: too many for a lane.
static int collect_keys(struct worker *worker, struct request *request, const struct parsed *parsed)
{
    const struct command *command = parsed->command;
    if (command->first_key == command->last_key && command->first_key > 0 &&
        !(command->flags & COMMAND_MOVABLE_KEYS)) {
        if (parsed->request.argc <= (uint32_t)command->first_key)
            return WEIR_EMALFORMED;
        request->hash = parsed->hash;
        request->key_count = 1;
        return 0;
    }
    if (command->first_key == 0 && !(command->flags & COMMAND_MOVABLE_KEYS))
        return 0;
    request->hash_block = block_borrow(&worker->blocks);
    if (request->hash_block == NULL)
        return WEIR_ENOMEM;
    request->hashes = (uint64_t *)(void *)request->hash_block->data;
    struct key_list list = {request->hashes, 0, LIMIT_WRITE_KEYS};
    int count = command_keys(command, &parsed->request, collect_key, &list);
    if (count < 0)
        return count;
    if (list.count > LIMIT_WRITE_KEYS)
        return WEIR_ERANGE;
    request->key_count = (uint16_t)list.count;
    return 0;
}

static bool is_read(const struct command *command)
{
    if (command->id == COMMAND_PING || command->id == COMMAND_ECHO)
        return true; // Redis does not call them so, but they too may be asked again
    return (command->flags & COMMAND_READONLY) && !(command->flags & COMMAND_WRITE);
}

static enum request_verdict refuse(struct client *client, const char *line)
{
    if (client->first != NULL)
        return REQUEST_STALLED;
    client_append_text(client, line);
    return REQUEST_STARTED;
}

// Redis looks at the command before it asks who sent it.
static enum request_verdict refuse_stranger(struct client *client, const struct parsed *parsed)
{
    const struct command *command = parsed->command;
    int64_t argc = parsed->request.argc, arity = command->arity;
    if (client->first != NULL)
        return REQUEST_STALLED;
    if (command->id == COMMAND_UNKNOWN)
        local_unknown_command(client, &parsed->request);
    else if (arity > 0 ? argc != arity : argc < -arity)
        local_wrong_arity(client, command->name);
    else
        client_append_text(client, "-NOAUTH Authentication required.\r\n");
    return REQUEST_STARTED;
}

static enum request_verdict out_of_memory(struct client *client)
{
    return refuse(client, "-ERR weir: out of buffer memory, not applied\r\n");
}

// Tries to answer at once; only when nothing of this client is outstanding.
static enum near_verdict answer_now(struct client *client, const struct parsed *parsed,
                                    const struct near_query *query)
{
    struct worker *worker = client->worker;
    const struct node *node = proxy_node(worker->proxy);
    size_t room, size = 0;
    for (int attempt = 0; attempt < 2; attempt++) {
        uint8_t *out = client_compose(client, &room);
        enum near_verdict verdict =
            query == NULL ? near_mget(worker, node, &parsed->request, client->identity.db,
                                      client->identity.protocol, false, out, room, &size)
                          : near_fetch(worker, node, query, false, client->identity.protocol, out,
                                       room, &size);
        if (verdict == NEAR_HIT) {
            client_composed(client, size);
            worker_hit(worker, parsed->command->id);
            return verdict;
        }
        if (verdict != NEAR_MISS || !client_spill(client))
            return verdict;
    }
    return NEAR_MISS;
}

// A read the cache may answer. Returns true when it was answered; otherwise *state and the
// request's flags say how it goes to the lane.
static bool start_near(struct client *client, const struct parsed *parsed, uint32_t *flags,
                       enum request_state *state)
{
    struct worker *worker = client->worker;
    const struct node *node = proxy_node(worker->proxy);
    struct near_query query, *single = &query;
    if (parsed->command->id == COMMAND_MGET) {
        if (!node_caching(node))
            return false;
        single = NULL;
    } else if (!near_query(&query, worker, node, parsed->command, &parsed->request, parsed->hash,
                           client->identity.db)) {
        return false;
    }
    *flags |= REQUEST_CACHEABLE;
    if (client->first != NULL) {
        if (single == NULL ? near_mget_peek(worker, node, &parsed->request, client->identity.db)
                           : near_peek(worker, node, single))
            *state = REQUEST_MARKER;
        return false;
    }
    *flags |= REQUEST_MAY_JOIN;
    enum near_verdict verdict = answer_now(client, parsed, single);
    if (verdict == NEAR_STALE) {
        worker_count(worker, METRIC_cache_stale_waits_total, 1);
        *state = REQUEST_FENCE;
    }
    return verdict == NEAR_HIT;
}

static enum request_verdict start_on_lane(struct client *client, const struct parsed *parsed)
{
    struct worker *worker = client->worker;
    const struct command *command = parsed->command;
    uint32_t flags = is_read(command) ? REQUEST_READ : 0;
    enum request_state state = REQUEST_QUEUED;
    if ((command->shape == RESP2_OTHER && client->identity.protocol == 2) ||
        parsed->request.frame.size > LIMIT_LANE_REQUEST)
        return session_one_shot(client, parsed);
    if (!(flags & REQUEST_READ) && client->markers + client->discards > 0)
        return REQUEST_STALLED;
    if ((command->flags & COMMAND_CACHEABLE) && start_near(client, parsed, &flags, &state))
        return REQUEST_STARTED;
    if (client->doomed)
        return REQUEST_CLOSED; // making room for a hit it was shed
    struct request *request = request_borrow(worker, parsed->request.frame);
    if (request == NULL)
        return out_of_memory(client);
    request->command = command;
    request->db = client->identity.db;
    request->start_ns = worker->now_ns;
    request->hash = parsed->hash;
    request->flags = flags;
    if (command_shape(command, &parsed->request) != command->shape)
        request->flags |= REQUEST_NULL_ARRAY;
    if (command->flags & COMMAND_FLUSH)
        request->flags |= REQUEST_FLUSH;
    if (command->id == COMMAND_INFO)
        request->flags |= REQUEST_ADD_INFO;
    if (flags & REQUEST_CACHEABLE) {
        request->key_offset = (uint32_t)(parsed->request.argv[1].data - parsed->request.frame.data);
        request->key_size = (uint32_t)parsed->request.argv[1].size;
    } else if (!(flags & REQUEST_READ) && worker->proxy->cache != NULL) {
        int failed = collect_keys(worker, request, parsed);
        if (failed) {
            request_release(request);
            return failed == WEIR_ENOMEM ? out_of_memory(client) : session_one_shot(client, parsed);
        }
    }
    request_enqueue(client, request);
    request_submit(request, state);
    return REQUEST_STARTED;
}

// CONFIG GET/SET weir-… and INFO weir are weir's, whatever the state of the store.
static bool is_own(const struct parsed *parsed)
{
    const struct resp_request *request = &parsed->request;
    if (parsed->command->id == COMMAND_INFO)
        return request->argc == 2 && slice_is(request->argv[1], "weir");
    return parsed->command->id == COMMAND_CONFIG && request->argc >= 3 &&
           request->argv[2].size >= 5 && slice_is(slice_of(request->argv[2].data, 5), "weir-");
}

// CLIENT REPLY SKIP: the request behind it runs alone, so that what is said meanwhile is its reply.
static bool waits_for_silence(struct client *client)
{
    if (client->reply_mode != REPLY_SKIP && client->reply_mode != REPLY_SKIPPING)
        return false;
    if (client->first != NULL || session_pending(client))
        return true;
    client->reply_mode = client->reply_mode == REPLY_SKIP ? REPLY_SKIPPING : REPLY_ON;
    return false;
}

static enum request_verdict start(struct client *client, const struct parsed *parsed);

enum request_verdict request_start(struct client *client, const struct parsed *parsed)
{
    enum reply_mode before = client->reply_mode;
    if (client->holds > 0 || waits_for_silence(client))
        return REQUEST_STALLED;
    enum request_verdict verdict = start(client, parsed);
    if (verdict == REQUEST_STALLED)
        client->reply_mode = before; // it comes again
    return verdict;
}

static enum request_verdict start(struct client *client, const struct parsed *parsed)
{
    const struct command *command = parsed->command;
    client->last_command = command;
    if (!client->identity.authenticated && !(command->flags & COMMAND_NO_AUTH))
        return refuse_stranger(client, parsed);
    if (command->route == ROUTE_LOCAL || is_own(parsed))
        return local_start(client, parsed);
    if (client->session != NULL)
        return session_request(client, parsed);
    switch (command->route) {
    case ROUTE_LANE:
        return start_on_lane(client, parsed);
    case ROUTE_PRIVATE:
        return session_one_shot(client, parsed);
    case ROUTE_SESSION:
        return session_open(client, parsed);
    case ROUTE_LOCAL:
        break;
    }
    return REQUEST_CLOSED;
}
