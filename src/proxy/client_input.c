// What a client sends.
//
// A socket is read into the thread's scratch and parsed there, up to PARSE_BATCH requests
// ahead: while the first is looked up, the cache lines of the others are on their way. What can't
// be consumed yet (part of a request, or anything behind a request that must wait) is kept in `in`,
// and put together with what comes next. A part of a request is fed to the incremental scanner
// once, so that a slow sender costs no more than its bytes.
//
// Backpressure. A client whose pending output passes half of its room, or with too many requests
// outstanding, is not read until that has passed. Its room shrinks with the free budget, so however
// many clients don't read, none takes what the others need.
#include "base/check.h"
#include "base/err.h"
#include "base/hash.h"
#include "loop/net.h"
#include "proxy/client.h"
#include "proxy/core.h"
#include "proxy/session.h"
#include <assert.h>

enum { STUCK_SECONDS = 60 };
enum { LEAN_OUTSTANDING = 2 }; // requests of a client under way when memory is short

bool client_throttled(const struct client *client)
{
    size_t room = worker_client_room(client->worker);
    uint32_t most = room == 0 ? LEAN_OUTSTANDING : LIMIT_OUTSTANDING;
    return client->outstanding >= most || (client->out.size > 0 && client->out.size > room / 2);
}

// Requests under way hold memory too, twice until they have left for the store.
static bool asks_much(const struct client *client)
{
    return client->asked > worker_client_room(client->worker) / 2 + LIMIT_LANE_REQUEST;
}

static const struct resp_bounds *bounds_of(const struct client *client)
{
    static const struct resp_bounds full = {LIMIT_MULTIBULK_ARGS, LIMIT_BULK_BYTES, true};
    static const struct resp_bounds unauthenticated = {LIMIT_UNAUTH_ARGS, LIMIT_UNAUTH_BULK, false};
    return client->identity.authenticated ? &full : &unauthenticated;
}

static void protocol_error(struct client *client, long error, uint8_t got)
{
    char line[128];
    if (client->first != NULL || session_pending(client)) {
        client->stalled = true; // what was asked before is answered first
        return;
    }
    size_t n = resp_error_line((int)error, got, line, sizeof line);
    worker_count(client->worker, METRIC_protocol_errors_total, 1);
    client->reply_mode = REPLY_ON;
    client_append(client, slice_of(line, n));
    buf_clear(&client->in, &client->worker->blocks);
    client_close_after_reply(client);
}

// command_find, remembering the last name. `bytes` are what holds it.
static const struct command *find_command(struct worker *worker, struct slice name,
                                          struct slice bytes)
{
    uint64_t word;
    if (name.size == 0 || name.size > sizeof word || name.data < bytes.data ||
        name.data + sizeof word > bytes.data + bytes.size)
        return command_find(name);
    memcpy(&word, name.data, sizeof word);
    word &= UINT64_MAX >> (8 * (sizeof word - name.size));
    if (word != worker->memo_name) {
        worker->memo_name = word;
        worker->memo_command = command_find(name);
    }
    return worker->memo_command;
}

// Parses one request at the head of `bytes`. Returns what it consumed, 0 for more, < 0 on error
// (already answered).
static long parse_one(struct client *client, struct slice bytes, struct parsed *parsed)
{
    struct worker *worker = client->worker;
    struct resp_request *request = &parsed->request;
    size_t need;
    long n = resp_request_parse(request, bytes, bounds_of(client), &need);
    if (n <= 0)
        return n;
    if (request->is_inline) { // bounded as a line, not by its words
        static const struct resp_bounds any = {LIMIT_MULTIBULK_ARGS, LIMIT_BULK_BYTES, true};
        long size = resp_inline_split(request->frame, worker->inline_scratch, worker->inline_room);
        if (size < 0)
            return size;
        if (size == 0 || resp_request_parse(request, slice_of(worker->inline_scratch, (size_t)size),
                                            &any, &need) <= 0)
            request->argc = 0;
    }
    parsed->hash = 0;
    if (request->argc == 0)
        return n;
    const struct command *command = parsed->command = find_command(worker, request->argv[0], bytes);
    if (command->first_key > 0 && command->first_key < RESP_ARGS &&
        request->argc > (uint32_t)command->first_key && worker->proxy->cache != NULL) {
        parsed->hash = hash_key(request->argv[command->first_key]);
        cache_prefetch(worker->proxy->cache, parsed->hash);
    }
    return n;
}

// Parses and starts requests from contiguous bytes. Returns how many bytes were consumed; sets
// client->stalled when the next request can't start now.
static size_t process(struct client *client, struct slice bytes)
{
    struct worker *worker = client->worker;
    size_t consumed = 0;
    while (consumed < bytes.size && !client->closing && !client->doomed) {
        struct parsed *batch = worker->batch;
        size_t end[PARSE_BATCH], at = consumed;
        unsigned count = 0;
        long n = 1;
        while (count < PARSE_BATCH && at < bytes.size) {
            n = parse_one(client, slice_of(bytes.data + at, bytes.size - at), &batch[count]);
            if (n <= 0)
                break;
            at += (size_t)n;
            end[count++] = at;
            if (batch[count - 1].request.frame.data == worker->inline_scratch)
                break; // there is one place for a rewritten inline request
        }
        if (worker->proxy->cache != NULL && count > 1) {
            for (unsigned i = 0; i < count; i++)
                cache_prefetch_entry(worker->proxy->cache, batch[i].hash);
        }
        for (unsigned i = 0; i < count; i++) {
            if (client_throttled(client) || asks_much(client)) {
                client->stalled = client->throttled = true;
                return consumed;
            }
            enum request_verdict verdict = REQUEST_STARTED;
            if (batch[i].request.argc > 0)
                verdict = request_start(client, &batch[i]);
            if (client->doomed)
                return bytes.size;
            if (verdict == REQUEST_STALLED) {
                client->stalled = true;
                return consumed;
            }
            worker->requests += batch[i].request.argc > 0;
            consumed = end[i];
            if (client->closing || verdict == REQUEST_CLOSED)
                return bytes.size;
            if (client->reparse) { // authentication or the like changed how bytes are read
                client->reparse = false;
                n = 1;
                break;
            }
        }
        if (n < 0 && consumed == at) {
            protocol_error(client, n, batch[count].request.got);
            return client->stalled ? consumed : bytes.size;
        }
        if (n == 0 && consumed == at)
            break;
    }
    return consumed;
}

static void keep_input(struct client *client, struct slice bytes)
{
    if (bytes.size > 0 && !client->doomed &&
        buf_append(&client->in, &client->worker->blocks, bytes) != 0)
        client_shed(client, "no buffer memory for its input");
}

// `in` begins with an incomplete request of which all bytes have been scanned. Is it one that must
// not be gathered in memory?
static bool is_large(const struct client *client)
{
    return !client->inline_partial &&
           client->in.size + resp_scan_more(&client->scan) > LIMIT_LANE_REQUEST;
}

static void begin_partial(struct client *client, struct slice bytes)
{
    client->scanning = true;
    client->inline_partial = bytes.data[0] != '*';
    if (!client->inline_partial) {
        resp_scan_init(&client->scan);
        resp_scan_feed(&client->scan, bytes);
    }
}

// A large request goes to a private connection piece by piece. Its first block names the command.
static void stream_large(struct client *client)
{
    struct iovec head;
    if (!client->identity.authenticated) {
        protocol_error(client, RESP_ERR_UNAUTH_BULK, 0);
        return;
    }
    if (client->first != NULL || (client->session != NULL && !session_kept(client))) {
        client->stalled = true; // what was asked before is answered first
        return;
    }
    if (client->reply_mode == REPLY_SKIPPING) {
        if (session_pending(client)) {
            client->stalled = true;
            return;
        }
        client->reply_mode = REPLY_ON; // what was to be skipped has been answered
    }
    if (buf_vectors(&client->in, &head, 1) == 1)
        session_stream(client, slice_of(head.iov_base, head.iov_len));
}

static void consume(struct client *client, struct slice bytes)
{
    struct worker *worker = client->worker;
    client->scanning = false;
    size_t used = process(client, bytes);
    worker_hits_flush(worker);
    worker_count(worker, METRIC_requests_total, worker->requests);
    worker->requests = 0;
    if (client->doomed)
        return;
    bytes = slice_of(bytes.data + used, bytes.size - used);
    keep_input(client, bytes);
    if (client->doomed || bytes.size == 0 || client->closing || client->stalled)
        return;
    begin_partial(client, bytes);
    if (is_large(client))
        stream_large(client);
}

// What was kept and what has come, as one. Both are at most LIMIT_LANE_REQUEST.
static void consume_kept(struct client *client, struct slice bytes)
{
    struct worker *worker = client->worker;
    size_t kept = client->in.size;
    CHECK(kept + bytes.size <= 2 * LIMIT_LANE_REQUEST);
    buf_copy(&client->in, worker->input_scratch);
    buf_clear(&client->in, &worker->blocks);
    if (bytes.size > 0)
        memcpy(worker->input_scratch + kept, bytes.data, bytes.size);
    consume(client, slice_of(worker->input_scratch, kept + bytes.size));
}

// More of an incomplete request. True when it is time to parse again: it is complete, or broken, or
// so small that an error in it should be noticed at once.
static bool feed_partial(struct client *client, struct slice bytes)
{
    if (client->inline_partial)
        return memchr(bytes.data, '\n', bytes.size) != NULL ||
               client->in.size + bytes.size >= LIMIT_INLINE_BYTES;
    long n = resp_scan_feed(&client->scan, bytes);
    return n < 0 || client->scan.done || client->in.size + bytes.size <= BLOCK_BYTES;
}

static void take_input(struct client *client, struct slice bytes)
{
    if (client->streaming) {
        size_t used = session_stream_input(client, bytes);
        bytes = slice_of(bytes.data + used, bytes.size - used);
        if (client->doomed || bytes.size == 0)
            return;
    }
    if (client->stalled) {
        keep_input(client, bytes);
    } else if (client->in.size == 0) {
        consume(client, bytes);
    } else if (!client->scanning || feed_partial(client, bytes)) {
        consume_kept(client, bytes);
    } else {
        keep_input(client, bytes);
        if (!client->doomed && is_large(client))
            stream_large(client);
    }
}

static void stop_reading(struct client *client)
{
    loop_modify(client->worker->loop, &client->io, client->io.events & ~(uint32_t)LOOP_READ);
}

static void take_eof(struct client *client)
{
    client->eof = true;
    stop_reading(client);
    if (client->streaming || (client->session != NULL && session_waits(client))) {
        client_close(client); // half a request, blocked or subscribed: nobody is left to tell
        return;
    }
    client_mark_dirty(client); // closed once everything owed is written
}

static bool must_wait(const struct client *client)
{
    // Part of a request is read on: it ends, is found broken, or turns out large.
    return (client->stalled && client->in.size >= LIMIT_LANE_REQUEST) || client_throttled(client) ||
           (client->streaming && session_full(client));
}

// Several sockets are read before the first is served, and the cache lines of their first keys are
// called for: with one request a read, that hides what the lookups would wait for.
static void note_arrival(struct client *client, struct slice bytes)
{
    struct worker *worker = client->worker;
    struct arrival *arrival = &worker->arrivals[worker->arrival_count++];
    struct parsed parsed = {.hash = 0};
    if (worker->proxy->cache != NULL && client->in.size == 0 && bytes.data[0] == '*' &&
        parse_one(client, bytes, &parsed) <= 0)
        parsed.hash = 0;
    *arrival = (struct arrival){client, bytes, parsed.hash};
    client->arrived = true;
}

void clients_serve(struct worker *worker)
{
    if (worker->arrival_count == 0)
        return;
    worker->now_ns = clock_now_ns();
    for (unsigned i = 0; i < worker->arrival_count; i++) {
        if (worker->arrivals[i].hash != 0)
            cache_prefetch_entry(worker->proxy->cache, worker->arrivals[i].hash);
    }
    unsigned count = worker->arrival_count;
    worker->arrival_count = 0;
    for (unsigned i = 0; i < count; i++) {
        struct client *client = worker->arrivals[i].client;
        client->arrived = false;
        if (client->doomed)
            continue;
        client->active_ns = worker->now_ns;
        worker_count(worker, METRIC_received_bytes_total, worker->arrivals[i].bytes.size);
        take_input(client, worker->arrivals[i].bytes);
    }
}

static void client_read(struct client *client)
{
    struct worker *worker = client->worker;
    worker_take_settings(worker);
    if (client->eof || client->closing || must_wait(client)) {
        if (!client->eof && !client->closing)
            client->stalled = client->throttled = true;
        stop_reading(client);
        return;
    }
    if (worker->arrival_count == ARRIVALS)
        clients_serve(worker);
    if (client->doomed)
        return;
    uint8_t *at = worker->arrival_scratch + worker->arrival_count * (size_t)CLIENT_READ_BYTES;
    ssize_t n = net_read(client->identity.fd, at, CLIENT_READ_BYTES);
    if (n == WEIR_EAGAIN)
        return;
    if (n == WEIR_EOF) {
        take_eof(client);
        return;
    }
    if (n < 0) {
        client_close(client);
        return;
    }
    note_arrival(client, slice_of(at, (size_t)n));
}

void client_ready(struct loop_fd *io, uint32_t events)
{
    struct client *client = (struct client *)io;
    static_assert(offsetof(struct client, io) == 0, "io leads the client");
    if (events & LOOP_WRITE)
        client_mark_dirty(client);
    if ((events & LOOP_HANGUP) && !(client->io.events & LOOP_READ)) {
        client_close(client); // gone for good while we did not read
        return;
    }
    if (events & (LOOP_READ | LOOP_HANGUP))
        client_read(client);
}

// ---- going on
// ------------------------------------------------------------------------------------

void client_resume(struct client *client)
{
    if (client->resuming || client->doomed)
        return;
    client->resuming = true;
    client->resume_next = client->worker->resume;
    client->worker->resume = client;
}

static void resume(struct client *client)
{
    client_mark_dirty(client); // after_flush decides whether it is finished
    if (must_wait(client) && client->in.size < LIMIT_LANE_REQUEST) {
        client->throttled = client->stalled;
        return;
    }
    if (!client->eof && !client->closing && !(client->io.events & LOOP_READ))
        loop_modify(client->worker->loop, &client->io, client->io.events | LOOP_READ);
    if (!client->stalled)
        return;
    client->stalled = client->throttled = false;
    if (client->in.size > 0 && !client->streaming)
        consume_kept(client, slice_of(NULL, 0));
}

void clients_resume(struct worker *worker)
{
    struct client *list = worker->resume;
    worker->resume = NULL;
    while (list != NULL) {
        struct client *client = list;
        list = client->resume_next;
        client->resuming = false;
        if (!client->doomed)
            resume(client);
    }
}

void client_tick(struct client *client)
{
    struct worker *worker = client->worker;
    uint64_t timeout_ms = worker->settings->config.timeout_ms;
    if (client->out.size > 0 && worker->now_ns > client->progress_ns &&
        worker->now_ns - client->progress_ns > STUCK_SECONDS * CLOCK_MS(1000)) {
        client_shed(client, "did not read its replies for a minute");
        return;
    }
    if (client->session != NULL)
        session_tick(client);
    if (client->doomed || timeout_ms == 0 || client->first != NULL || client->session != NULL)
        return;
    if (worker->now_ns > client->active_ns &&
        worker->now_ns - client->active_ns > CLOCK_MS(timeout_ms)) {
        worker_count(worker, METRIC_connections_timeout_total, 1);
        client_close(client);
    }
}
