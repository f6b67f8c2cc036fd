// Network and clock of the simulation.
//
//   write ─► segment {bytes, arrival time} ─► pipe of the other end ─► read
//
// A pipe keeps order; different pipes don't wait for each other, so what two connections carry is
// interleaved at random. A reset destroys what is under way, as TCP does. A frozen port holds
// everything back, which is what a network that drops packets looks like from above.
#include "world.h"
#include "base/err.h"
#include "bytes.h"
#include "loop/clock.h"
#include <assert.h>

enum { ENDS = 512, FIRST_FD = 100, SEGMENTS = 256, PORTS = 4 };

struct pipe {
    struct bytes bytes;
    struct segment {
        size_t size;
        uint64_t at_ns;
    } segment[SEGMENTS];
    unsigned segments;
    uint64_t fin_ns; // 0: none
    uint64_t rst_ns;
};

enum end_kind { END_FREE, END_LISTENER, END_STREAM };

struct end {
    enum end_kind kind;
    uint16_t port;      // of the listener it is or belongs to
    int peer;           // -1: gone
    bool accepted;      // false on the server's end until net_accept
    bool is_server;     // made by a listener
    bool announced;     // the connect result was asked for
    uint64_t ready_ns;  // connection established (or to be accepted) then; UINT64_MAX: never
    int connect_error;
    struct pipe in;
};

static struct world {
    struct world_options options;
    uint64_t random, now_ns, activity, splits;
    struct end end[ENDS];
    struct port {
        uint16_t port;
        enum world_fate fate;
        bool frozen;
    } port[PORTS];
} world;

// ---- chance and time -----------------------------------------------------------------------------

uint64_t world_random(void) // splitmix64
{
    uint64_t z = world.random += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

uint64_t world_below(uint64_t n)
{
    return n == 0 ? 0 : world_random() % n;
}

bool world_chance(unsigned permil)
{
    return world_below(1000) < permil;
}

void world_init(uint64_t seed, const struct world_options *options)
{
    memset(&world, 0, sizeof world);
    world.options = *options;
    world.random = seed * 0x2545f4914f6cdd1dull + 1;
    world.now_ns = 1000000000ull + world_below(1000000000ull);
}

void world_deinit(void)
{
    if (world_open() != 0) {
        fprintf(stderr, "sim: %u descriptors are still open\n", world_open());
        abort();
    }
}

uint64_t world_now(void)
{
    return world.now_ns;
}

void world_advance(uint64_t ns)
{
    world.now_ns += ns;
}

uint64_t world_activity(void)
{
    return world.activity;
}

uint64_t world_splits(void)
{
    return world.splits;
}

void world_note_activity(void)
{
    world.activity++;
}

// Time passes while programs run: two readings differ a little.
uint64_t clock_now_ns(void)
{
    world.now_ns += world_below(300);
    return world.now_ns;
}

uint64_t clock_wall_us(void)
{
    return 1700000000000000ull + world.now_ns / 1000;
}

// ---- ends ----------------------------------------------------------------------------------------

static struct end *end_of(int fd)
{
    assert(fd >= FIRST_FD && fd < FIRST_FD + ENDS);
    struct end *end = &world.end[fd - FIRST_FD];
    assert(end->kind != END_FREE); // used after close
    return end;
}

static int end_new(enum end_kind kind, uint16_t port)
{
    for (int i = 0; i < ENDS; i++)
        if (world.end[i].kind == END_FREE) {
            world.end[i] = (struct end){.kind = kind, .port = port, .peer = -1};
            return FIRST_FD + i;
        }
    return WEIR_ERANGE;
}

static void end_free(struct end *end)
{
    bytes_free(&end->in.bytes);
    memset(end, 0, sizeof *end);
}

unsigned world_open(void)
{
    unsigned count = 0;
    for (int i = 0; i < ENDS; i++)
        count += world.end[i].kind != END_FREE;
    return count;
}

static uint64_t latency(void)
{
    return world.options.latency_ns / 2 + world_below(world.options.latency_ns + 1);
}

static struct port *port_of(uint16_t number)
{
    for (int i = 0; i < PORTS; i++) {
        if (world.port[i].port == 0)
            world.port[i].port = number;
        if (world.port[i].port == number)
            return &world.port[i];
    }
    abort();
}

static bool frozen(const struct end *end)
{
    return port_of(end->port)->frozen;
}

void world_set_fate(uint16_t port, enum world_fate fate)
{
    port_of(port)->fate = fate;
}

void world_freeze(uint16_t port, bool stop)
{
    port_of(port)->frozen = stop;
    world.activity++;
}

// ---- what has arrived ----------------------------------------------------------------------------

static bool arrived(uint64_t at_ns)
{
    return at_ns != 0 && at_ns <= world.now_ns;
}

static bool is_reset(const struct end *end)
{
    return arrived(end->in.rst_ns) && !frozen(end);
}

static bool established(const struct end *end)
{
    return end->ready_ns <= world.now_ns && end->connect_error == 0;
}

static size_t available(const struct end *end)
{
    size_t size = 0;
    if (frozen(end) || !established(end))
        return 0;
    for (unsigned i = 0; i < end->in.segments && end->in.segment[i].at_ns <= world.now_ns; i++)
        size += end->in.segment[i].size;
    return size;
}

static bool at_eof(const struct end *end)
{
    return arrived(end->in.fin_ns) && end->in.bytes.size == 0 && !frozen(end);
}

static bool acceptable(const struct end *end, uint16_t port)
{
    return end->kind == END_STREAM && end->is_server && !end->accepted && end->port == port &&
           end->ready_ns <= world.now_ns;
}

bool world_readable(int fd)
{
    const struct end *end = end_of(fd);
    if (end->kind == END_LISTENER) {
        for (int i = 0; i < ENDS; i++)
            if (acceptable(&world.end[i], end->port))
                return true;
        return false;
    }
    return is_reset(end) || available(end) > 0 || at_eof(end);
}

static size_t pipe_room(const struct pipe *pipe)
{
    return pipe->bytes.size >= world.options.pipe_bytes || pipe->segments == SEGMENTS
               ? 0
               : world.options.pipe_bytes - pipe->bytes.size;
}

static bool world_writable(const struct end *end)
{
    if (end->kind != END_STREAM || end->ready_ns > world.now_ns)
        return false;
    if (end->connect_error != 0 || is_reset(end) || end->peer < 0)
        return true;
    return pipe_room(&end_of(end->peer)->in) > 0;
}

static void sooner(uint64_t *next, uint64_t at_ns)
{
    if (at_ns > world.now_ns && at_ns < *next)
        *next = at_ns;
}

static uint64_t next_arrival(void)
{
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < ENDS; i++) {
        const struct end *end = &world.end[i];
        if (end->kind != END_STREAM)
            continue;
        sooner(&next, end->ready_ns);
        for (unsigned s = 0; s < end->in.segments; s++)
            sooner(&next, end->in.segment[s].at_ns);
        sooner(&next, end->in.fin_ns);
        sooner(&next, end->in.rst_ns);
    }
    return next;
}

// ---- net.h ---------------------------------------------------------------------------------------

int net_listen(const struct net_address *address, int backlog)
{
    (void)backlog;
    for (int i = 0; i < ENDS; i++)
        if (world.end[i].kind == END_LISTENER && world.end[i].port == address->port)
            return WEIR_EINUSE;
    return end_new(END_LISTENER, address->port);
}

int net_accept(int listener, char *peer, size_t peer_size)
{
    uint16_t port = end_of(listener)->port;
    for (int i = 0; i < ENDS; i++) {
        struct end *end = &world.end[i];
        if (!acceptable(end, port))
            continue;
        end->accepted = true;
        world.activity++;
        if (peer != NULL && peer_size > 0)
            snprintf(peer, peer_size, "127.0.0.1:%d", 10000 + end->peer);
        return FIRST_FD + i;
    }
    return WEIR_EAGAIN;
}

static bool has_listener(uint16_t port)
{
    for (int i = 0; i < ENDS; i++)
        if (world.end[i].kind == END_LISTENER && world.end[i].port == port)
            return true;
    return false;
}

int net_connect(const struct net_address *address)
{
    int fd = end_new(END_STREAM, address->port);
    if (fd < 0)
        return fd;
    struct end *end = end_of(fd);
    enum world_fate fate = port_of(address->port)->fate;
    world.activity++;
    end->ready_ns = world.now_ns + latency();
    if (fate == FATE_BLACKHOLE || frozen(end)) {
        end->ready_ns = UINT64_MAX;
    } else if (fate == FATE_REFUSE || !has_listener(address->port)) {
        end->connect_error = WEIR_ECONNREFUSED;
    } else {
        int other = end_new(END_STREAM, address->port);
        if (other < 0) {
            end_free(end);
            return other;
        }
        struct end *server = end_of(other);
        server->is_server = true;
        server->peer = fd;
        server->ready_ns = end->ready_ns;
        end->peer = other;
    }
    return fd;
}

int net_connect_result(int fd)
{
    struct end *end = end_of(fd);
    if (end->ready_ns > world.now_ns)
        return WEIR_EAGAIN;
    if (!end->announced)
        world.activity++;
    end->announced = true;
    return is_reset(end) ? WEIR_ERESET : end->connect_error;
}

// Part of what could move, now and then.
static size_t split(size_t most)
{
    if (most > 1 && world_chance(world.options.split_permil)) {
        world.splits++;
        return 1 + world_below(world_chance(300) ? 3 : most - 1) % (most - 1);
    }
    return most;
}

ssize_t net_read(int fd, void *out, size_t room)
{
    struct end *end = end_of(fd);
    assert(end->kind == END_STREAM);
    if (is_reset(end)) {
        world.activity++;
        return WEIR_ERESET;
    }
    size_t most = available(end);
    if (most == 0) {
        if (!at_eof(end))
            return WEIR_EAGAIN;
        world.activity++;
        return WEIR_EOF;
    }
    if (most > room)
        most = room;
    size_t count = split(most);
    memcpy(out, end->in.bytes.data, count);
    bytes_drop(&end->in.bytes, count);
    size_t left = count;
    unsigned gone = 0;
    while (left > 0) {
        struct segment *segment = &end->in.segment[gone];
        size_t part = left < segment->size ? left : segment->size;
        segment->size -= part;
        left -= part;
        if (segment->size == 0)
            gone++;
    }
    end->in.segments -= gone;
    memmove(end->in.segment, end->in.segment + gone, end->in.segments * sizeof *end->in.segment);
    world.activity++;
    return (ssize_t)count;
}

ssize_t net_write(int fd, const void *data, size_t size)
{
    struct end *end = end_of(fd);
    assert(end->kind == END_STREAM);
    if (end->ready_ns > world.now_ns || size == 0)
        return WEIR_EAGAIN;
    if (end->connect_error != 0 || is_reset(end))
        return WEIR_ERESET;
    world.activity++;
    if (end->peer < 0) { // the other end has closed: it answers with a reset
        if (end->in.rst_ns == 0)
            end->in.rst_ns = world.now_ns + 2 * latency() + 1;
        return (ssize_t)size;
    }
    struct pipe *pipe = &end_of(end->peer)->in;
    size_t most = pipe_room(pipe);
    if (most == 0)
        return WEIR_EAGAIN;
    if (most > size)
        most = size;
    size_t count = split(most);
    uint64_t at_ns = world.now_ns + latency();
    if (pipe->segments > 0 && pipe->segment[pipe->segments - 1].at_ns > at_ns)
        at_ns = pipe->segment[pipe->segments - 1].at_ns;
    pipe->segment[pipe->segments++] = (struct segment){count, at_ns};
    bytes_add(&pipe->bytes, data, count);
    return (ssize_t)count;
}

ssize_t net_writev(int fd, const struct iovec *vectors, int count)
{
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        if (vectors[i].iov_len == 0)
            continue;
        ssize_t n = net_write(fd, vectors[i].iov_base, vectors[i].iov_len);
        if (n < 0)
            return total > 0 ? total : n;
        total += n;
        if ((size_t)n < vectors[i].iov_len)
            break;
    }
    return total > 0 ? total : WEIR_EAGAIN;
}

static void cut(struct end *end, bool reset)
{
    if (end->peer < 0)
        return;
    struct pipe *pipe = &end_of(end->peer)->in;
    uint64_t at_ns = world.now_ns + latency();
    if (pipe->segments > 0 && pipe->segment[pipe->segments - 1].at_ns > at_ns)
        at_ns = pipe->segment[pipe->segments - 1].at_ns;
    if (reset)
        pipe->rst_ns = world.now_ns + latency() + 1;
    else
        pipe->fin_ns = at_ns;
    end_of(end->peer)->peer = -1;
}

void net_close(int fd)
{
    struct end *end = end_of(fd);
    if (end->kind == END_LISTENER) {
        for (int i = 0; i < ENDS; i++) {
            struct end *waiting = &world.end[i];
            if (waiting->kind == END_STREAM && waiting->is_server && !waiting->accepted &&
                waiting->port == end->port) {
                cut(waiting, true);
                end_free(waiting);
            }
        }
    } else {
        int peer = end->peer;
        cut(end, end->in.bytes.size > 0);
        // an end that nobody has accepted yet goes with the one that made it
        if (peer >= 0 && end_of(peer)->is_server && !end_of(peer)->accepted)
            end_free(end_of(peer));
    }
    end_free(end);
    world.activity++;
}

bool net_is_loopback(int fd)
{
    (void)end_of(fd);
    return true;
}

void net_local(int fd, char *out, size_t size)
{
    snprintf(out, size, "127.0.0.1:%u", end_of(fd)->port);
}

void net_set_buffers(int fd, int receive_bytes, int send_bytes)
{
    (void)end_of(fd);
    (void)receive_bytes;
    (void)send_bytes;
}

void net_set_keepalive(int fd, int idle_s)
{
    (void)end_of(fd);
    (void)idle_s;
}

// The simulation names addresses as 127.0.0.1:PORT only.
int net_address_parse(struct net_address *out, const char *text, uint16_t default_port)
{
    const char *colon = strrchr(text, ':');
    *out = (struct net_address){.port = colon ? (uint16_t)atoi(colon + 1) : default_port};
    snprintf(out->host, sizeof out->host, "127.0.0.1");
    return 0;
}

void net_address_format(const struct net_address *address, char *out, size_t size)
{
    snprintf(out, size, "%s:%u", address->host, address->port);
}

// ---- faults --------------------------------------------------------------------------------------

static bool counts(const struct end *end, uint16_t port)
{
    return end->kind == END_STREAM && end->is_server && end->port == port && end->peer >= 0 &&
           end->ready_ns <= world.now_ns;
}

unsigned world_connections(uint16_t port)
{
    unsigned count = 0;
    for (int i = 0; i < ENDS; i++)
        count += counts(&world.end[i], port);
    return count;
}

bool world_break(uint16_t port, unsigned n, bool reset)
{
    for (int i = 0; i < ENDS; i++) {
        struct end *server = &world.end[i];
        if (!counts(server, port) || n-- > 0)
            continue;
        struct end *client = end_of(server->peer);
        cut(server, reset); // clears client->peer
        client->peer = -1;
        server->peer = -1;
        if (reset)
            server->in.rst_ns = world.now_ns + latency() + 1;
        else // as if the other side had closed: what was under way still arrives
            server->in.fin_ns = world.now_ns + world.options.latency_ns * 2;
        world.activity++;
        return true;
    }
    return false;
}

// ---- loop.h --------------------------------------------------------------------------------------

enum { SOURCES = 256, TIMERS = 128, LOOPS = 8 };

struct loop {
    struct loop_fd *source[SOURCES];
    uint64_t generation[SOURCES]; // of the registration, so that a new one gets no old event
    unsigned sources;
    uint64_t next_generation;
    struct loop_timer *timer[TIMERS];
    unsigned timers;
    bool pending;
};

static struct loop *loops[LOOPS];

int loop_create(struct loop **out)
{
    for (int i = 0; i < LOOPS; i++)
        if (loops[i] == NULL) {
            *out = loops[i] = calloc(1, sizeof(struct loop));
            return 0;
        }
    return WEIR_ENOMEM;
}

void loop_destroy(struct loop **loop)
{
    for (int i = 0; i < LOOPS; i++)
        if (loops[i] == *loop)
            loops[i] = NULL;
    free(*loop);
    *loop = NULL;
}

static int source_index(const struct loop *loop, const struct loop_fd *source)
{
    for (unsigned i = 0; i < loop->sources; i++)
        if (loop->source[i] == source)
            return (int)i;
    return -1;
}

int loop_add(struct loop *loop, struct loop_fd *source)
{
    (void)end_of(source->fd);
    assert(source_index(loop, source) < 0 && loop->sources < SOURCES);
    loop->source[loop->sources] = source;
    loop->generation[loop->sources++] = ++loop->next_generation;
    return 0;
}

int loop_modify(struct loop *loop, struct loop_fd *source, uint32_t events)
{
    (void)end_of(source->fd);
    assert(source_index(loop, source) >= 0);
    source->events = events;
    return 0;
}

void loop_remove(struct loop *loop, struct loop_fd *source)
{
    int i = source_index(loop, source);
    if (i < 0)
        return;
    loop->sources--;
    loop->source[i] = loop->source[loop->sources];
    loop->generation[i] = loop->generation[loop->sources];
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer)
{
    for (unsigned i = 0; i < loop->timers; i++)
        if (loop->timer[i] == timer)
            loop->timer[i--] = loop->timer[--loop->timers];
    timer->deadline_ns = 0;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns)
{
    assert(deadline_ns != 0);
    loop_timer_clear(loop, timer);
    assert(loop->timers < TIMERS);
    timer->deadline_ns = deadline_ns;
    loop->timer[loop->timers++] = timer;
}

static uint32_t ready_events(const struct loop_fd *source)
{
    const struct end *end = end_of(source->fd);
    uint32_t events = 0;
    if ((source->events & LOOP_READ) && world_readable(source->fd))
        events |= LOOP_READ;
    if ((source->events & LOOP_WRITE) && world_writable(end))
        events |= LOOP_WRITE;
    if (end->kind == END_STREAM &&
        (is_reset(end) || (end->connect_error != 0 && end->ready_ns <= world.now_ns)))
        events |= LOOP_HANGUP;
    return events;
}

static int deliver(struct loop *loop)
{
    struct {
        struct loop_fd *source;
        uint64_t generation;
        uint32_t events;
    } ready[SOURCES];
    unsigned count = 0;
    for (unsigned i = 0; i < loop->sources; i++) {
        uint32_t events = ready_events(loop->source[i]);
        if (events == 0)
            continue;
        unsigned at = (unsigned)world_below(count + 1); // in any order
        ready[count] = ready[at];
        ready[at].source = loop->source[i];
        ready[at].generation = loop->generation[i];
        ready[at].events = events;
        count++;
    }
    if (count > 1 && world_chance(300))
        count = 1 + (unsigned)world_below(count); // the others in the next round
    int calls = 0;
    for (unsigned i = 0; i < count; i++) {
        int at = source_index(loop, ready[i].source);
        if (at < 0 || loop->generation[at] != ready[i].generation)
            continue;
        ready[i].source->ready(ready[i].source, ready[i].events);
        calls++;
    }
    return calls;
}

static int fire(struct loop *loop)
{
    int calls = 0;
    uint64_t now_ns = world.now_ns;
    for (;;) {
        struct loop_timer *due = NULL;
        for (unsigned i = 0; i < loop->timers; i++) {
            struct loop_timer *timer = loop->timer[i];
            if (timer->deadline_ns <= now_ns &&
                (due == NULL || timer->deadline_ns < due->deadline_ns))
                due = timer;
        }
        if (due == NULL || calls > TIMERS)
            return calls;
        loop_timer_clear(loop, due);
        world.activity++;
        due->fire(due, now_ns);
        calls++;
    }
}

int loop_poll(struct loop *loop, int timeout_ms)
{
    (void)timeout_ms;
    if (loop->pending)
        world.activity++;
    loop->pending = false;
    int calls = deliver(loop);
    return calls + fire(loop);
}

void loop_wake(struct loop *loop)
{
    loop->pending = true;
    world.activity++;
}

bool loop_asleep(const struct loop *loop)
{
    (void)loop;
    return world_chance(500);
}

uint64_t loop_idle_ns(const struct loop *loop)
{
    (void)loop;
    return world.now_ns / 2; // half busy
}

uint64_t world_next_event(void)
{
    uint64_t next = next_arrival();
    for (int i = 0; i < LOOPS; i++)
        for (unsigned t = 0; loops[i] != NULL && t < loops[i]->timers; t++)
            sooner(&next, loops[i]->timer[t]->deadline_ns);
    return next;
}
