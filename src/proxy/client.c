// A client connection.
//
// Input. A socket is read into the thread's scratch and parsed there, up to PARSE_BATCH requests
// ahead: while the first is looked up, the cache lines of the others are on their way. What can't be
// consumed yet (part of a request, or anything behind a request that must wait) is kept in `in`, and
// put together with what comes next. A part of a request is fed to the incremental scanner once, so
// that a slow sender costs no more than its bytes.
//
// Output. Replies are composed in the thread's `out` while a client's input is served, or appended to
// the client's own chain when they come later; one writev a round sends both.
//
// Backpressure. A client whose pending output passes half of its room, or with too many requests
// outstanding, is not read until that has passed. Its room shrinks with the free budget, so however
// many clients don't read, none takes what the others need.
#include "proxy/client.h"
#include "base/check.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "loop/net.h"
#include "proxy/core.h"
#include "proxy/session.h"
#include <assert.h>
#include <stdio.h>

enum { FLUSH_VECTORS = 64, STUCK_SECONDS = 60 };
enum { MUCH_OUTPUT = 16 * BLOCK_BYTES, UNREAD_MS = 100 };
enum { LEAN_OUTSTANDING = 16 }; // requests of a client under way when memory is short

static void client_ready(struct loop_fd *io, uint32_t events);

// ---- life ----------------------------------------------------------------------------------------

static void link_client(struct worker *worker, struct client *client)
{
    client->next = worker->clients;
    if (client->next != NULL)
        client->next->previous = client;
    worker->clients = client;
    atomic_fetch_add(&worker->client_count, 1);
}

static void unlink_client(struct worker *worker, struct client *client)
{
    if (worker->walk == client)
        worker->walk = client->next;
    if (client->previous != NULL)
        client->previous->next = client->next;
    else
        worker->clients = client->next;
    if (client->next != NULL)
        client->next->previous = client->previous;
    atomic_fetch_sub(&worker->client_count, 1);
}

int client_create(struct worker *worker, const struct client_identity *identity)
{
    struct client *client = slab_borrow(&worker->client_slab);
    if (client == NULL) {
        net_close(identity->fd);
        atomic_fetch_sub(&worker->proxy->clients, 1);
        worker_count(worker, METRIC_connections_shed_total, 1);
        return WEIR_ENOMEM;
    }
    client->worker = worker;
    client->identity = *identity;
    client->active_ns = client->progress_ns = worker->now_ns;
    client->io = (struct loop_fd){.fd = identity->fd, .events = LOOP_READ, .ready = client_ready};
    link_client(worker, client);
    if (loop_add(worker->loop, &client->io) != 0) {
        client_close(client);
        return WEIR_EIO;
    }
    return 0;
}

static void forget(struct client *client, bool close_socket)
{
    struct worker *worker = client->worker;
    client->doomed = true;
    if (worker->out_client == client) {
        worker->out_client = NULL;
        worker->out_size = worker->out_begin;
    }
    client->region = slice_of(NULL, 0);
    loop_remove(worker->loop, &client->io);
    if (close_socket) {
        net_close(client->identity.fd);
        atomic_fetch_sub(&worker->proxy->clients, 1);
    }
    if (client->session != NULL)
        session_abandon(client);
    request_orphan(client);
    buf_clear(&client->in, &worker->blocks);
    buf_clear(&client->out, &worker->blocks);
    unlink_client(worker, client);
    client->doomed_next = worker->doomed;
    worker->doomed = client;
}

void client_close(struct client *client)
{
    if (!client->doomed)
        forget(client, true);
}

void client_close_after_reply(struct client *client)
{
    client->closing = true;
    client_resume(client);
}

static void take_out(struct client **list, struct client *client, size_t link)
{
    while (*list != NULL) {
        struct client **next = (struct client **)((char *)*list + link);
        if (*list == client) {
            *list = *next;
            return;
        }
        list = next;
    }
}

void clients_free(struct worker *worker)
{
    while (worker->doomed != NULL) {
        struct client *client = worker->doomed;
        worker->doomed = client->doomed_next;
        if (client->dirty)
            take_out(&worker->dirty, client, offsetof(struct client, dirty_next));
        if (client->resuming)
            take_out(&worker->resume, client, offsetof(struct client, resume_next));
        slab_return(&worker->client_slab, client);
    }
}

// ---- moving --------------------------------------------------------------------------------------

bool client_may_move(const struct client *client)
{
    return client->first == NULL && client->session == NULL && client->in.size == 0 &&
           client_pending(client) == 0 && !client->eof && !client->closing && !client->doomed &&
           !client->resuming && !client->arrived && client->reply_mode == REPLY_ON;
}

void client_move(struct client *client, unsigned to)
{
    struct worker *worker = client->worker;
    struct block *block = block_borrow(&worker->blocks);
    if (block == NULL || to == worker->index)
        return;
    struct client_mail *letter = (struct client_mail *)(void *)block->data;
    static_assert(sizeof *letter <= BLOCK_ROOM, "a moving client fits a block");
    letter->block = block;
    letter->identity = client->identity;
    forget(client, false);
    worker_count(worker, METRIC_connections_moved_total, 1);
    worker_send(worker, to, &letter->mail, MAIL_CLIENT);
}

// ---- output --------------------------------------------------------------------------------------

size_t client_pending(const struct client *client)
{
    const struct worker *worker = client->worker;
    size_t open = worker->out_client == client ? worker->out_size - worker->out_begin : 0;
    return client->out.size + client->region.size + open;
}

static void mark_dirty(struct client *client)
{
    if (client->dirty)
        return;
    client->dirty = true;
    client->dirty_next = client->worker->dirty;
    client->worker->dirty = client;
}

static void shed(struct client *client, const char *why)
{
    log_write(LOG_WARN, "client shed", "client=%s reason=\"%s\"", client->identity.address, why);
    worker_count(client->worker, METRIC_connections_shed_total, 1);
    client_close(client);
}

// The client of this thread that holds the most unread output, and has not read for a while.
static struct client *worst_reader(struct worker *worker, size_t more_than, uint64_t idle_ns)
{
    struct client *worst = NULL;
    for (struct client *client = worker->clients; client != NULL; client = client->next) {
        if (client->doomed || client->out.size <= more_than ||
            client->progress_ns + idle_ns > worker->now_ns)
            continue;
        worst = client;
        more_than = client->out.size;
    }
    return worst;
}

// Adds output. When only the reserve is left, or nothing, one who holds more than this client and does
// not read has to go first; if there is none, the reserve is for outputs of modest size.
static bool put_out(struct client *client, struct slice bytes)
{
    struct worker *worker = client->worker;
    bool is_much = client->out.size + bytes.size > MUCH_OUTPUT;
    for (;;) {
        bool tight = is_much && worker_client_room(worker) == 0;
        if (!tight && buf_append(&client->out, &worker->blocks, bytes) == 0)
            return true;
        struct client *worst =
            worst_reader(worker, client->out.size + MUCH_OUTPUT, CLOCK_MS(UNREAD_MS));
        if (worst == NULL)
            return tight && client->out.size + bytes.size <= 4 * MUCH_OUTPUT &&
                   buf_append(&client->out, &worker->blocks, bytes) == 0;
        shed(worst, "did not read its replies while others needed the memory");
    }
}

void clients_relieve(struct worker *worker)
{
    if (worker_client_room(worker) >= MUCH_OUTPUT)
        return;
    struct client *worst = worst_reader(worker, MUCH_OUTPUT, CLOCK_MS(1000));
    if (worst != NULL)
        shed(worst, "did not read its replies while memory was short");
}

// Ends the open region: it is the client's until the round's flush.
static void close_region(struct client *client)
{
    struct worker *worker = client->worker;
    worker->out_client = NULL;
    client->region = slice_of(worker->out + worker->out_begin, worker->out_size - worker->out_begin);
}

static bool spill_region(struct client *client)
{
    struct slice region = client->region;
    client->region = slice_of(NULL, 0);
    if (region.size == 0 || put_out(client, region))
        return true;
    shed(client, "no buffer memory for its replies");
    return false;
}

bool client_spill(struct client *client)
{
    struct worker *worker = client->worker;
    if (worker->out_client != client || worker->out_size == worker->out_begin)
        return false;
    close_region(client);
    worker->out_client = client;
    worker->out_size = worker->out_begin;
    return spill_region(client);
}

// Everything composed in this round goes before what is put into `out` now, whether its region is
// still open or was closed for another client's.
static void spill_all(struct client *client)
{
    if (!client_spill(client) && !client->doomed)
        spill_region(client);
}

static void open_region(struct client *client)
{
    struct worker *worker = client->worker;
    struct client *other = worker->out_client;
    if (other == client)
        return;
    if (other != NULL && worker->out_room - worker->out_size < worker->join_room)
        client_spill(other); // the next one needs that room
    if (other != NULL && !other->doomed)
        close_region(other);
    spill_region(client); // an earlier one of this round: order
    worker->out_client = client;
    worker->out_begin = worker->out_size;
}

uint8_t *client_compose(struct client *client, size_t *room)
{
    struct worker *worker = client->worker;
    open_region(client);
    *room = worker->out_room - worker->out_size;
    return worker->out + worker->out_size;
}

static bool muted(const struct client *client)
{
    return client->reply_mode == REPLY_OFF || client->reply_mode == REPLY_SKIPPING;
}

void client_composed(struct client *client, size_t size)
{
    if (muted(client))
        return;
    client->worker->out_size += size;
    mark_dirty(client);
}

void client_append(struct client *client, struct slice bytes)
{
    struct worker *worker = client->worker;
    if (client->doomed || muted(client))
        return;
    mark_dirty(client);
    if (worker->out_client == client && worker->out_room - worker->out_size >= bytes.size) {
        memcpy(worker->out + worker->out_size, bytes.data, bytes.size);
        worker->out_size += bytes.size;
        return;
    }
    spill_all(client);
    if (!client->doomed && !put_out(client, bytes))
        shed(client, "no buffer memory for its replies");
}

void client_append_text(struct client *client, const char *text)
{
    client_append(client, slice_str(text));
}

void client_append_buf(struct client *client, struct buf *bytes)
{
    if (client->doomed || muted(client)) {
        buf_clear(bytes, &client->worker->blocks);
        return;
    }
    mark_dirty(client);
    spill_all(client);
    if (!client->doomed)
        buf_move(&client->out, bytes);
}

void client_append_reply(struct client *client, struct slice reply, bool resp3,
                         enum resp2_shape shape)
{
    struct worker *worker = client->worker;
    bool as_is = !resp3 && shape != RESP2_FLAT_PAIRS; // pairs may be plain arrays (HRANDFIELD)
    if (as_is || client->identity.protocol == 3) {
        client_append(client, reply);
        return;
    }
    long n = resp_to_resp2(reply, shape, worker->convert, worker->convert_room);
    if (n > 0)
        client_append(client, slice_of(worker->convert, (size_t)n));
    else
        client_append_text(client, "-ERR weir: the store's reply can't be expressed in RESP2\r\n");
}

void client_flush(struct client *client)
{
    struct worker *worker = client->worker;
    if (worker->out_client == client)
        close_region(client);
    while (client->out.size + client->region.size > 0) {
        struct iovec vectors[FLUSH_VECTORS + 1];
        int count = client->out.size > 0 ? buf_vectors(&client->out, vectors, FLUSH_VECTORS) : 0;
        if (count < FLUSH_VECTORS && client->region.size > 0)
            vectors[count++] = (struct iovec){(void *)(uintptr_t)client->region.data,
                                              client->region.size};
        ssize_t n = count == 1 ? net_write(client->identity.fd, vectors[0].iov_base,
                                           vectors[0].iov_len)
                               : net_writev(client->identity.fd, vectors, count);
        if (n == WEIR_EAGAIN) {
            if (spill_region(client) && !(client->io.events & LOOP_WRITE))
                loop_modify(worker->loop, &client->io, client->io.events | LOOP_WRITE);
            return;
        }
        if (n < 0) {
            client_close(client);
            return;
        }
        client->progress_ns = worker->now_ns;
        worker_count(worker, METRIC_sent_bytes_total, (uint64_t)n);
        size_t chained = (size_t)n < client->out.size ? (size_t)n : client->out.size;
        buf_consume(&client->out, &worker->blocks, chained);
        client->region.data += (size_t)n - chained;
        client->region.size -= (size_t)n - chained;
    }
    if (client->io.events & LOOP_WRITE)
        loop_modify(worker->loop, &client->io, client->io.events & ~(uint32_t)LOOP_WRITE);
}

// After output has moved: a finished client is closed, a paused one goes on.
static void after_flush(struct client *client)
{
    if (client->doomed)
        return;
    if (client->session != NULL)
        session_drained(client);
    if (client->holds > 0 && !client_throttled(client))
        request_turns(client); // what was to be asked again when there is room
    if (client->doomed)
        return;
    bool idle = client->first == NULL && client_pending(client) == 0;
    if (idle && client->closing)
        client_close(client);
    else if (idle && client->eof && !session_pending(client) && !client->stalled &&
             !client->resuming)
        client_close(client); // in the middle of MULTI or WATCH too: nothing more can come
    else if (client->stalled && client->throttled && !client_throttled(client))
        client_resume(client);
}

void clients_flush(struct worker *worker)
{
    while (worker->dirty != NULL) {
        struct client *client = worker->dirty;
        worker->dirty = client->dirty_next;
        client->dirty = false;
        if (client->doomed)
            continue;
        client_flush(client);
        after_flush(client);
    }
    worker->out_client = NULL; // every region has been written or spilled
    worker->out_size = worker->out_begin = 0;
}

// ---- input ---------------------------------------------------------------------------------------

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
        long size = resp_inline_split(request->frame, worker->inline_scratch,
                                      worker->inline_room);
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
        shed(client, "no buffer memory for its input");
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
    mark_dirty(client); // closed once everything owed is written
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

static void client_ready(struct loop_fd *io, uint32_t events)
{
    struct client *client = (struct client *)io;
    static_assert(offsetof(struct client, io) == 0, "io leads the client");
    if (events & LOOP_WRITE)
        mark_dirty(client);
    if ((events & LOOP_HANGUP) && !(client->io.events & LOOP_READ)) {
        client_close(client); // gone for good while we did not read
        return;
    }
    if (events & (LOOP_READ | LOOP_HANGUP))
        client_read(client);
}

// ---- going on ------------------------------------------------------------------------------------

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
    mark_dirty(client); // after_flush decides whether it is finished
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
        shed(client, "did not read its replies for a minute");
        return;
    }
    if (client->session != NULL)
        session_tick(client);
    if (client->doomed || timeout_ms == 0 || client->first != NULL || client->session != NULL)
        return;
    if (worker->now_ns > client->active_ns && worker->now_ns - client->active_ns > CLOCK_MS(timeout_ms)) {
        worker_count(worker, METRIC_connections_timeout_total, 1);
        client_close(client);
    }
}
