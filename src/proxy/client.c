// A client connection: its life, its moves between threads, its output. What it sends is in
// client_input.c.
//
// Output. Replies are composed in the thread's `out` while a client's input is served, or appended
// to the client's own chain when they come later; one writev a round sends both.
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

enum { FLUSH_VECTORS = 64 };
enum { MUCH_OUTPUT = 16 * BLOCK_BYTES, UNREAD_MS = 100 };

// ---- life
// ----------------------------------------------------------------------------------------

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

// ---- moving
// --------------------------------------------------------------------------------------

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

// ---- output
// --------------------------------------------------------------------------------------

size_t client_pending(const struct client *client)
{
    const struct worker *worker = client->worker;
    size_t open = worker->out_client == client ? worker->out_size - worker->out_begin : 0;
    return client->out.size + client->region.size + open;
}

void client_mark_dirty(struct client *client)
{
    if (client->dirty)
        return;
    client->dirty = true;
    client->dirty_next = client->worker->dirty;
    client->worker->dirty = client;
}

void client_shed(struct client *client, const char *why)
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

// Adds output. When only the reserve is left, or nothing, one who holds more than this client and
// does not read has to go first; if there is none, the reserve is for outputs of modest size.
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
        client_shed(worst, "did not read its replies while others needed the memory");
    }
}

void clients_relieve(struct worker *worker)
{
    if (worker_client_room(worker) >= MUCH_OUTPUT)
        return;
    struct client *worst = worst_reader(worker, MUCH_OUTPUT, CLOCK_MS(1000));
    if (worst != NULL)
        client_shed(worst, "did not read its replies while memory was short");
}

// Ends the open region: it is the client's until the round's flush.
static void close_region(struct client *client)
{
    struct worker *worker = client->worker;
    worker->out_client = NULL;
    client->region =
        slice_of(worker->out + worker->out_begin, worker->out_size - worker->out_begin);
}

static bool spill_region(struct client *client)
{
    struct slice region = client->region;
    client->region = slice_of(NULL, 0);
    if (region.size == 0 || put_out(client, region))
        return true;
    client_shed(client, "no buffer memory for its replies");
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
    client_mark_dirty(client);
}

void client_append(struct client *client, struct slice bytes)
{
    struct worker *worker = client->worker;
    if (client->doomed || muted(client))
        return;
    client_mark_dirty(client);
    if (worker->out_client == client && worker->out_room - worker->out_size >= bytes.size) {
        memcpy(worker->out + worker->out_size, bytes.data, bytes.size);
        worker->out_size += bytes.size;
        return;
    }
    spill_all(client);
    if (!client->doomed && !put_out(client, bytes))
        client_shed(client, "no buffer memory for its replies");
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
    client_mark_dirty(client);
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
            vectors[count++] =
                (struct iovec){(void *)(uintptr_t)client->region.data, client->region.size};
        ssize_t n = count == 1
                        ? net_write(client->identity.fd, vectors[0].iov_base, vectors[0].iov_len)
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
