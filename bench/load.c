// links:
// A load generator: cheap enough that one thread of it saturates the server it measures.
//
//     main: options ─► workers connect ─► warm up ─► snapshot ─► measure ─► snapshot ─► report
//     worker: epoll_wait ─► read (once) ─► count replies ─► all back? ─► compose ─► write (once)
//
// Each client keeps `pipeline` requests outstanding: it writes so many in one piece, waits for all
// of their replies, and writes the next. Between two snapshots the report divides the operations by
// the time, and the CPU time that the kernel charged to the processes named by --pid (nanoseconds
// of schedstat, summed over their threads) by the operations.
//
// Invariants
// - Every reply is framed and its shape checked against what was asked: a value of the right size,
//   nil, or +OK. Whatever else comes counts as an error, and a broken stream ends the run.
// - Nothing is allocated once the workers run.
//
// --lone is another program: one blocking client with one request outstanding, one connection
// after the other, for latency. --idle only holds connections.
//
// Rejected: redis-benchmark (it costs more than the servers measured here, so it, not they, would
// be saturated; it reports no CPU time of others); an open loop with a rate (this is about cost per
// operation, which needs saturation, not about queueing).
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    KEY_BYTES = 16,          // "key:" and 12 digits, as redis-benchmark
    ZIPF_DRAWS = 1 << 20,    // keys drawn in advance, walked in a circle
    READ_BYTES = 256 * 1024, // one read
    LINE_BYTES = 64,         // what is kept of a reply's first line
    EVENTS = 1024,
    PIDS = 16,
    THREADS = 64,
    FIGURES = 64,
    LONE_SAMPLES = 4 * 1000 * 1000,
};

static const char usage[] =
    "usage: load [options] HOST:PORT | unix:PATH\n"
    "  --clients N      connections (50)\n"
    "  --pipeline N     requests outstanding on each (1)\n"
    "  --keys N         keys key:000000000000 to N-1 (100000)\n"
    "  --first N        number of the first key (0)\n"
    "  --value N        bytes of a value (64)\n"
    "  --set PERCENT    share of SETs, the rest are GETs (0)\n"
    "  --zipf S         Zipf keys with this exponent (uniform)\n"
    "  --sequential     the keys in order, each once, then again\n"
    "  --seconds S      measured time (3)\n"
    "  --ops N          a number of operations instead\n"
    "  --warmup S       seconds before it (0)\n"
    "  --threads N      of the generator (1)\n"
    "  --resp 2|3       protocol (2)\n"
    "  --pid PID        report this process's CPU time per operation; may be repeated\n"
    "  --lone N         latency: N connections one after the other, one request at a time\n"
    "  --idle N         hold N idle connections until standard input ends, nothing else\n"
    "  --json           one JSON object instead of name and value lines\n";

struct options {
    const char *address;
    int clients, pipeline, threads, resp, lone, idle, value, set_percent;
    int64_t keys, first, ops;
    double zipf, seconds, warmup;
    bool sequential, json;
    int pids;
    int pid[PIDS];
};

struct client {
    int fd;
    int batch, outstanding; // requests last sent; their replies that are still to come
    int64_t skip;           // bytes of a value (and its CRLF) that are still to come
    unsigned line;          // bytes of an unfinished first line
    char line_bytes[LINE_BYTES];
    uint8_t *is_set; // of each request of the batch
    char *out;
};

struct worker {
    const struct options *options;
    pthread_t thread;
    pthread_barrier_t *ready;
    int id, clients, epoll_fd;
    struct client *client;
    uint64_t random;
    int64_t next_key, budget; // budget: operations still to send, -1 without an end
    uint64_t zipf_at;
    const uint32_t *zipf;
    char *in, *value, *expected;
    size_t expected_size; // a whole reply to a GET that hits
    _Atomic uint64_t ops;
    uint64_t misses, errors;
    char first_error[LINE_BYTES + 1];
    atomic_bool *stop;
};

__attribute__((noreturn)) static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "failed");
    exit(1);
}

static void *allocate(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        die("memory");
    return p;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

// ---- the report -------------------------------------------------------------------------------

struct report {
    unsigned count;
    struct {
        char name[40];
        double value;
    } figure[FIGURES];
};

static void report_add(struct report *r, const char *name, double value)
{
    if (r->count == FIGURES)
        return;
    snprintf(r->figure[r->count].name, sizeof r->figure[0].name, "%s", name);
    r->figure[r->count++].value = value;
}

static void report_print(const struct report *r, bool json)
{
    for (unsigned i = 0; i < r->count; i++)
        printf(json ? "%s\"%s\": %.10g" : "%s%s %.10g\n",
               !json ? ""
               : i   ? ", "
                     : "{",
               r->figure[i].name, r->figure[i].value);
    if (json)
        printf("}\n");
    fflush(stdout);
}

// ---- CPU time of processes --------------------------------------------------------------------

static uint64_t cpu_from_stat(int pid)
{
    char path[64];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        die(path);
    if (fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &system) != 2)
        die(path);
    fclose(file);
    return (user + system) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

// Nanoseconds on a processor, summed over the living threads of the process.
static uint64_t cpu_ns(int pid)
{
    char path[320];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        die(path);
    for (struct dirent *task; (task = readdir(tasks));) {
        unsigned long long ns = 0;
        if (task->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, task->d_name);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        if (fscanf(file, "%llu", &ns) == 1)
            sum += ns;
        fclose(file);
    }
    closedir(tasks);
    return sum ? sum : cpu_from_stat(pid);
}

// ---- connections ------------------------------------------------------------------------------

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
        die(path);
    return fd;
}

static int connect_tcp(const char *text)
{
    char host[256];
    snprintf(host, sizeof host, "%s", text);
    char *colon = strrchr(host, ':');
    if (!colon)
        die("an address is HOST:PORT or unix:PATH");
    *colon = 0;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host, colon + 1, &hints, &found))
        die(text);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen))
        die(text);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    freeaddrinfo(found);
    return fd;
}

static void write_blocking(int fd, const char *p, size_t size)
{
    if (write(fd, p, size) != (ssize_t)size)
        die("write");
}

// Reads one whole reply, whatever its shape, a byte at a time: for the handshake only.
static void skip_reply(int fd)
{
    for (int64_t pending = 1; pending > 0; pending--) {
        char line[256];
        size_t n = 0;
        do {
            errno = 0;
            if (n == sizeof line - 1 || read(fd, line + n, 1) != 1)
                die("the server closed the connection");
        } while (line[n++] != '\n');
        line[n] = 0;
        int64_t size = atoll(line + 1);
        if (line[0] == '-') {
            fprintf(stderr, "load: the server answered %s", line);
            exit(1);
        }
        if (line[0] == '*' || line[0] == '%')
            pending += line[0] == '%' ? 2 * size : size;
        for (int64_t rest = line[0] == '$' && size >= 0 ? size + 2 : 0; rest > 0; rest--)
            if (read(fd, line, 1) != 1)
                die("read");
    }
}

static int connect_client(const struct options *o)
{
    static const char hello[] = "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n";
    errno = 0;
    int fd =
        !strncmp(o->address, "unix:", 5) ? connect_unix(o->address + 5) : connect_tcp(o->address);
    if (o->resp == 3) {
        write_blocking(fd, hello, sizeof hello - 1);
        skip_reply(fd);
    }
    return fd;
}

// ---- requests ---------------------------------------------------------------------------------

static uint64_t next_random(struct worker *w) // xorshift64*
{
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return w->random * 0x2545F4914F6CDD1Dull;
}

static int64_t pick_key(struct worker *w)
{
    const struct options *o = w->options;
    if (o->sequential) {
        int64_t key = w->next_key++;
        return o->first + key % o->keys;
    }
    if (w->zipf)
        return o->first + w->zipf[w->zipf_at++ & (ZIPF_DRAWS - 1)];
    return o->first + (int64_t)((next_random(w) >> 32) * (uint64_t)o->keys >> 32);
}

static char *put(char *out, const char *bytes, size_t size)
{
    memcpy(out, bytes, size);
    return out + size;
}

static char *put_key(char *out, int64_t key)
{
    memcpy(out, "key:000000000000", KEY_BYTES);
    for (char *digit = out + KEY_BYTES; key > 0; key /= 10)
        *--digit = (char)('0' + key % 10);
    return out + KEY_BYTES;
}

static char *compose_get(char *out, int64_t key)
{
    static const char head[] = "*2\r\n$3\r\nGET\r\n$16\r\n";
    return put(put_key(put(out, head, sizeof head - 1), key), "\r\n", 2);
}

static char *compose_set(char *out, int64_t key, const char *value, int value_size)
{
    static const char head[] = "*3\r\n$3\r\nSET\r\n$16\r\n";
    out = put_key(put(out, head, sizeof head - 1), key);
    out += sprintf(out, "\r\n$%d\r\n", value_size);
    return put(put(out, value, (size_t)value_size), "\r\n", 2);
}

static char *compose(struct worker *w, char *out, int64_t key, bool set)
{
    return set ? compose_set(out, key, w->value, w->options->value) : compose_get(out, key);
}

static bool draw_set(struct worker *w)
{
    int percent = w->options->set_percent;
    return percent > 0 && (int)(next_random(w) >> 33) % 100 < percent;
}

// Sends the client's next batch. Returns false when the budget is spent.
static bool send_batch(struct worker *w, struct client *c)
{
    int count = w->options->pipeline;
    if (w->budget >= 0 && w->budget < count)
        count = (int)w->budget;
    if (count == 0)
        return false;
    char *p = c->out;
    for (int i = 0; i < count; i++) {
        c->is_set[i] = draw_set(w);
        p = compose(w, p, pick_key(w), c->is_set[i]);
    }
    c->batch = c->outstanding = count;
    if (w->budget > 0)
        w->budget -= count;
    for (char *q = c->out; q < p;) {
        ssize_t n = write(c->fd, q, (size_t)(p - q));
        if (n < 0 && errno != EAGAIN)
            die("write");
        q += n > 0 ? n : 0; // a full socket: the server is reading, so try again
    }
    return true;
}

// ---- replies ----------------------------------------------------------------------------------

static void count_error(struct worker *w, const char *line, size_t size)
{
    if (w->errors++ == 0)
        memcpy(w->first_error, line, size < LINE_BYTES ? size : LINE_BYTES);
}

// Was the request that the next reply belongs to a SET?
static bool is_set_reply(const struct worker *w, const struct client *c)
{
    return w->options->set_percent > 0 && c->is_set[c->batch - c->outstanding];
}

// A reply's first line is complete: counts the reply, or has its value skipped.
static void first_line(struct worker *w, struct client *c, const char *line, size_t size)
{
    bool set = is_set_reply(w, c);
    if (line[0] == '$' && line[1] != '-') {
        int64_t bytes = atoll(line + 1);
        if (set || bytes != w->options->value)
            count_error(w, line, size);
        c->skip = bytes + 2;
        return;
    }
    c->outstanding--;
    if (line[0] == '_' || line[0] == '$')
        w->misses++;
    if (line[0] == '+' ? !set : line[0] == '_' || line[0] == '$' ? set : true)
        count_error(w, line, size);
    if (!strchr("+-_$:", line[0])) {
        fprintf(stderr, "load: no reply to a GET or SET: %.*s\n", (int)size, line);
        exit(1);
    }
}

static const char *take_line(struct worker *w, struct client *c, const char *p, const char *end)
{
    const char *newline = memchr(p, '\n', (size_t)(end - p));
    const char *next = newline ? newline + 1 : end;
    size_t size = (size_t)(next - p), room = LINE_BYTES - 1 - c->line;
    memcpy(c->line_bytes + c->line, p, size < room ? size : room);
    c->line += (unsigned)(size < room ? size : room);
    if (newline) {
        c->line_bytes[c->line] = 0;
        first_line(w, c, c->line_bytes, c->line);
        c->line = 0;
    }
    return next;
}

static const char *take_value(struct client *c, const char *p, const char *end)
{
    int64_t n = end - p < c->skip ? end - p : c->skip;
    c->skip -= n;
    c->outstanding -= c->skip == 0;
    return p + n;
}

// The common case, a whole reply to a GET that hit; only its first line is compared.
static bool is_plain_hit(const struct worker *w, const struct client *c, const char *p,
                         const char *end)
{
    return !c->skip && !c->line && !is_set_reply(w, c) && (size_t)(end - p) >= w->expected_size &&
           !memcmp(p, w->expected, w->expected_size - (size_t)w->options->value - 2);
}

static void take_replies(struct worker *w, struct client *c, const char *p, const char *end)
{
    int before = c->outstanding;
    while (p < end && c->outstanding > 0) {
        if (is_plain_hit(w, c, p, end)) {
            p += w->expected_size;
            c->outstanding--;
        } else {
            p = c->skip ? take_value(c, p, end) : take_line(w, c, p, end);
        }
    }
    if (p < end) {
        fprintf(stderr, "load: more replies than requests\n");
        exit(1);
    }
    uint64_t ops = atomic_load_explicit(&w->ops, memory_order_relaxed);
    atomic_store_explicit(&w->ops, ops + (uint64_t)(before - c->outstanding), memory_order_relaxed);
}

// ---- workers ----------------------------------------------------------------------------------

static void worker_connect(struct worker *w)
{
    const struct options *o = w->options;
    size_t request = 64 + (o->set_percent ? (size_t)o->value + 32 : 0);
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    w->client = allocate((size_t)w->clients * sizeof *w->client);
    for (int i = 0; i < w->clients; i++) {
        struct client *c = &w->client[i];
        c->fd = connect_client(o);
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
        c->out = allocate(request * (size_t)o->pipeline);
        c->is_set = allocate((size_t)o->pipeline);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, c->fd, &event))
            die("epoll_ctl");
    }
}

static void worker_init(struct worker *w)
{
    const struct options *o = w->options;
    w->in = allocate(READ_BYTES);
    w->value = allocate((size_t)o->value + 1);
    memset(w->value, 'x', (size_t)o->value);
    w->expected = allocate((size_t)o->value + 32);
    w->expected_size = (size_t)sprintf(w->expected, "$%d\r\n%s\r\n", o->value, w->value);
    w->random = now_ns() * 2 + 1 + (uint64_t)w->id * UINT64_C(0x9E3779B97F4A7C16);
    w->zipf_at = next_random(w);
}

static void worker_close(struct worker *w)
{
    for (int i = 0; i < w->clients; i++) {
        close(w->client[i].fd);
        free(w->client[i].out);
        free(w->client[i].is_set);
    }
    close(w->epoll_fd);
    free(w->client);
}

static void worker_deinit(struct worker *w)
{
    free(w->in);
    free(w->value);
    free(w->expected);
}

// Returns true when the client has a batch under way again.
static bool client_ready(struct worker *w, struct client *c)
{
    ssize_t n = read(c->fd, w->in, READ_BYTES);
    if (n < 0 && errno == EAGAIN)
        return true;
    if (n <= 0) {
        errno = n == 0 ? ECONNRESET : errno;
        die("read");
    }
    take_replies(w, c, w->in, w->in + n);
    if (c->outstanding > 0)
        return true;
    return !atomic_load_explicit(w->stop, memory_order_relaxed) && send_batch(w, c);
}

static void *worker_run(void *argument)
{
    struct worker *w = argument;
    struct epoll_event events[EVENTS];
    worker_init(w);
    worker_connect(w);
    pthread_barrier_wait(w->ready); // connected
    pthread_barrier_wait(w->ready); // go
    int active = 0;
    for (int i = 0; i < w->clients; i++)
        active += send_batch(w, &w->client[i]);
    while (active > 0) {
        int n = epoll_wait(w->epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++)
            active -= !client_ready(w, events[i].data.ptr);
    }
    return NULL;
}

// ZIPF_DRAWS keys: rank r with weight 1 / r^s; ranks are dealt to keys at random.
static uint32_t *zipf_draw(int64_t keys, double s)
{
    struct worker dice = {.random = 88172645463325252ull};
    double *cumulative = allocate((size_t)keys * sizeof *cumulative), sum = 0;
    uint32_t *key = allocate((size_t)keys * sizeof *key);
    uint32_t *draw = allocate(ZIPF_DRAWS * sizeof *draw);
    for (int64_t i = 0; i < keys; i++) {
        cumulative[i] = sum += pow((double)(i + 1), -s);
        uint64_t j = next_random(&dice) % (uint64_t)(i + 1);
        key[i] = key[j];
        key[j] = (uint32_t)i;
    }
    for (int d = 0; d < ZIPF_DRAWS; d++) {
        double u = (double)(next_random(&dice) >> 11) * 0x1p-53 * sum;
        int64_t low = 0, high = keys - 1;
        while (low < high) {
            int64_t middle = (low + high) / 2;
            if (cumulative[middle] < u)
                low = middle + 1;
            else
                high = middle;
        }
        draw[d] = key[low];
    }
    free(cumulative);
    free(key);
    return draw;
}

// ---- a measured run ---------------------------------------------------------------------------

struct snapshot {
    uint64_t ns, ops, own_cpu_ns;
    uint64_t cpu[PIDS];
};

static void snapshot_take(struct snapshot *s, const struct options *o, struct worker *workers)
{
    s->ops = 0;
    for (int i = 0; i < o->threads; i++)
        s->ops += atomic_load_explicit(&workers[i].ops, memory_order_relaxed);
    s->ns = now_ns();
    for (int i = 0; i < o->pids; i++)
        s->cpu[i] = cpu_ns(o->pid[i]);
    struct timespec own;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
    s->own_cpu_ns = (uint64_t)own.tv_sec * 1000000000 + (uint64_t)own.tv_nsec;
}

static void report_cpu(struct report *r, const struct options *o, const struct snapshot *a,
                       const struct snapshot *b)
{
    double ops = (double)(b->ops - a->ops), sum = 0;
    for (int i = 0; i < o->pids; i++) {
        char name[40];
        double us = (double)(b->cpu[i] - a->cpu[i]) / 1000 / ops;
        snprintf(name, sizeof name, "cpu_us_per_op_%d", o->pid[i]);
        report_add(r, name, us);
        sum += us;
    }
    if (o->pids)
        report_add(r, "cpu_us_per_op", sum);
    report_add(r, "load_cpu_us_per_op", (double)(b->own_cpu_ns - a->own_cpu_ns) / 1000 / ops);
}

static void report_run(struct report *r, const struct options *o, const struct worker *workers,
                       const struct snapshot *a, const struct snapshot *b)
{
    double seconds = (double)(b->ns - a->ns) / 1e9, ops = (double)(b->ops - a->ops);
    uint64_t misses = 0, errors = 0;
    for (int i = 0; i < o->threads; i++) {
        misses += workers[i].misses;
        errors += workers[i].errors;
        if (workers[i].errors)
            fprintf(stderr, "load: first error: %s\n", workers[i].first_error);
    }
    report_add(r, "ops", ops);
    report_add(r, "seconds", seconds);
    report_add(r, "ops_per_second", ops / seconds);
    report_add(r, "nils", (double)misses);
    report_add(r, "errors", (double)errors);
    report_cpu(r, o, a, b);
}

static void sleep_seconds(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds,
                         .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

static void workers_start(const struct options *o, struct worker *workers, pthread_barrier_t *ready,
                          atomic_bool *stop)
{
    uint32_t *zipf = o->zipf > 0 ? zipf_draw(o->keys, o->zipf) : NULL;
    for (int i = 0; i < o->threads; i++) {
        struct worker *w = &workers[i];
        *w = (struct worker){.options = o, .ready = ready, .stop = stop, .id = i, .zipf = zipf};
        w->clients = o->clients / o->threads + (i < o->clients % o->threads);
        w->budget = o->ops ? o->ops / o->threads + (i < o->ops % o->threads) : -1;
        w->next_key = o->keys / o->threads * i;
        if (pthread_create(&w->thread, NULL, worker_run, w))
            die("pthread_create");
    }
}

static void run_load(const struct options *o, struct report *r)
{
    struct worker *workers = allocate((size_t)o->threads * sizeof *workers);
    pthread_barrier_t ready;
    atomic_bool stop = false;
    struct snapshot before, after;
    pthread_barrier_init(&ready, NULL, (unsigned)o->threads + 1);
    workers_start(o, workers, &ready, &stop);
    pthread_barrier_wait(&ready);
    if (o->ops)
        snapshot_take(&before, o, workers);
    pthread_barrier_wait(&ready);
    if (!o->ops) {
        sleep_seconds(o->warmup);
        snapshot_take(&before, o, workers);
        sleep_seconds(o->seconds);
        snapshot_take(&after, o, workers);
        atomic_store(&stop, true);
    }
    for (int i = 0; i < o->threads; i++)
        pthread_join(workers[i].thread, NULL);
    if (o->ops)
        snapshot_take(&after, o, workers);
    report_run(r, o, workers, &before, &after);
    for (int i = 0; i < o->threads; i++) {
        worker_close(&workers[i]);
        worker_deinit(&workers[i]);
    }
    free((void *)workers[0].zipf);
    free(workers);
}

// ---- one client, for latency ------------------------------------------------------------------

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t lone_request(struct worker *w, struct client *c)
{
    uint64_t start = now_ns();
    w->budget = 1;
    send_batch(w, c);
    while (c->outstanding > 0) {
        ssize_t n = read(c->fd, w->in, READ_BYTES);
        if (n <= 0)
            die("read");
        take_replies(w, c, w->in, w->in + n);
    }
    return (uint32_t)(now_ns() - start);
}

static int64_t lone_connection(struct worker *w, uint32_t *sample, int64_t room)
{
    const struct options *o = w->options;
    struct client *c = &w->client[0];
    uint64_t warm = now_ns() + (uint64_t)(o->warmup * 1e9);
    uint64_t end = warm + (uint64_t)(o->seconds * 1e9);
    while (now_ns() < warm)
        lone_request(w, c);
    int64_t n = 0;
    while (n < room && (o->ops ? n < o->ops : now_ns() < end))
        sample[n++] = lone_request(w, c);
    return n;
}

static double percentile_us(const uint32_t *sorted, int64_t count, double share)
{
    return sorted[(int64_t)((double)(count - 1) * share)] / 1000.0;
}

// Over all connections, and the worst connection's median: with several threads in the server it
// depends on the connection whether a miss has to cross from one to another.
static void run_lone(const struct options *o, struct report *r)
{
    uint32_t *sample = allocate(LONE_SAMPLES * sizeof *sample);
    int64_t total = 0;
    double worst = 0, best = 1e12;
    struct worker w = {.options = o, .clients = 1};
    w.zipf = o->zipf > 0 ? zipf_draw(o->keys, o->zipf) : NULL;
    worker_init(&w);
    for (int i = 0; i < o->lone; i++) {
        worker_connect(&w);
        fcntl(w.client[0].fd, F_SETFL, 0);
        int64_t n = lone_connection(&w, sample + total, LONE_SAMPLES - total);
        worker_close(&w);
        qsort(sample + total, (size_t)n, sizeof *sample, compare_u32);
        double median = n ? percentile_us(sample + total, n, 0.5) : 0;
        worst = median > worst ? median : worst;
        best = median < best ? median : best;
        total += n;
    }
    qsort(sample, (size_t)total, sizeof *sample, compare_u32);
    report_add(r, "ops", (double)total);
    report_add(r, "nils", (double)w.misses);
    report_add(r, "errors", (double)w.errors);
    if (total > 0) {
        report_add(r, "p50_us", percentile_us(sample, total, 0.50));
        report_add(r, "p90_us", percentile_us(sample, total, 0.90));
        report_add(r, "p99_us", percentile_us(sample, total, 0.99));
        report_add(r, "best_connection_p50_us", best);
        report_add(r, "worst_connection_p50_us", worst);
    }
    worker_deinit(&w);
    free((void *)w.zipf);
    free(sample);
}

// ---- idle connections -------------------------------------------------------------------------

// Each connection asks once, so that the server has had buffers for it, and then rests.
static void run_idle(const struct options *o, struct report *r)
{
    char byte, request[64];
    size_t size = (size_t)(compose_get(request, o->first) - request);
    for (int i = 0; i < o->idle; i++) {
        int fd = connect_client(o);
        write_blocking(fd, request, size);
        skip_reply(fd);
    }
    report_add(r, "idle_connections", o->idle);
    report_print(r, o->json);
    while (read(0, &byte, 1) > 0)
        ;
}

// ---- options ----------------------------------------------------------------------------------

enum kind { FLAG, WHOLE, LARGE, REAL, PROCESS };

static const struct {
    const char *name;
    enum kind kind;
    size_t offset;
} table[] = {
    {"clients", WHOLE, offsetof(struct options, clients)},
    {"pipeline", WHOLE, offsetof(struct options, pipeline)},
    {"keys", LARGE, offsetof(struct options, keys)},
    {"first", LARGE, offsetof(struct options, first)},
    {"value", WHOLE, offsetof(struct options, value)},
    {"set", WHOLE, offsetof(struct options, set_percent)},
    {"zipf", REAL, offsetof(struct options, zipf)},
    {"sequential", FLAG, offsetof(struct options, sequential)},
    {"seconds", REAL, offsetof(struct options, seconds)},
    {"ops", LARGE, offsetof(struct options, ops)},
    {"warmup", REAL, offsetof(struct options, warmup)},
    {"threads", WHOLE, offsetof(struct options, threads)},
    {"resp", WHOLE, offsetof(struct options, resp)},
    {"pid", PROCESS, 0},
    {"lone", WHOLE, offsetof(struct options, lone)},
    {"idle", WHOLE, offsetof(struct options, idle)},
    {"json", FLAG, offsetof(struct options, json)},
};
enum { OPTIONS = sizeof table / sizeof table[0] };

static void set_option(struct options *o, unsigned index, const char *value)
{
    void *field = (char *)o + table[index].offset;
    switch (table[index].kind) {
    case FLAG:
        *(bool *)field = true;
        break;
    case WHOLE:
        *(int *)field = atoi(value);
        break;
    case LARGE:
        *(int64_t *)field = atoll(value);
        break;
    case REAL:
        *(double *)field = atof(value);
        break;
    case PROCESS:
        if (o->pids < PIDS)
            o->pid[o->pids++] = atoi(value);
    }
}

// Returns false when an option is unknown.
static bool parse_options(struct options *o, int argc, char **argv)
{
    struct option known[OPTIONS + 1] = {0};
    for (unsigned i = 0; i < OPTIONS; i++)
        known[i] = (struct option){table[i].name, table[i].kind != FLAG, NULL, (int)i};
    for (int index; (index = getopt_long(argc, argv, "", known, NULL)) >= 0;) {
        if (index == '?')
            return false;
        set_option(o, (unsigned)index, optarg);
    }
    o->address = optind < argc ? argv[optind] : NULL;
    return true;
}

static bool options_valid(const struct options *o)
{
    return o->address && o->clients > 0 && o->pipeline > 0 && o->keys > 0 && o->keys < 1LL << 32 &&
           o->threads > 0 && o->threads <= THREADS && o->threads <= o->clients && o->value >= 0 &&
           o->first >= 0 && (o->resp == 2 || o->resp == 3) && o->ops >= 0;
}

int main(int argc, char **argv)
{
    struct options o = {.clients = 50,
                        .pipeline = 1,
                        .keys = 100000,
                        .value = 64,
                        .seconds = 3,
                        .threads = 1,
                        .resp = 2};
    struct report report = {0};
    struct rlimit files;
    if (!parse_options(&o, argc, argv) || !options_valid(&o)) {
        fputs(usage, stderr);
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (o.idle > 0) {
        run_idle(&o, &report);
        return 0;
    }
    if (o.lone > 0) {
        o.pipeline = 1;
        run_lone(&o, &report);
    } else {
        run_load(&o, &report);
    }
    report_print(&report, o.json);
    return 0;
}
