// hammer: load on one Redis endpoint, recorded for check.
//
//   hammer -p PORT -o HISTORY [-n OPERATIONS] [-c CONNECTIONS] [-k KEYS] [-r SEED] [-d PERMILLE]
//          [-t SECONDS] [-g OPERATIONS_A_KEY] [-P]
//
// CONNECTIONS threads, each with a connection of its own, every other one in RESP3, send batches of
// 1 to 32 commands to few hot keys, most of them reads, and note when each batch was sent and each
// reply was there. Three kinds of keys: registers (SET, APPEND, DEL, WATCH), counters (INCR), values
// with a TTL of 1 to 300 ms. Keys are replaced by new ones after some operations, so that each
// history stays short enough to judge. Their names end in SEED: give each run on one store another.
//
// What may go wrong on the way is part of the history, not an error: a connection that breaks leaves
// its unanswered writes with an unknown outcome; it is made again. -d PERMILLE of the batches are
// abandoned by closing the connection. An error that says that nothing was done removes the command.
//
// -P (plain): single commands only, no MULTI, WATCH, EVAL or MGET, for endpoints that know no more.
// -t SECONDS: goes on for that long, whatever OPERATIONS says.
//
// The last line says how many operations were recorded and how many errors of which kind were met.
// Exit status 0; 1 when an endpoint stayed away for 30 s or said something not understood.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { KEY = 24, BATCH = 32, MAX_OPS = BATCH * 4, TEXT = 64, IN = 1 << 16, OUT = 1 << 16 };

struct op {
    char key[KEY], kind[8], argument[TEXT];
    int ttl_ms;
    bool read;
};

// A command of a batch, and the operations its reply answers.
enum shape { ONE, MANY, TRANSACTION };
struct command {
    enum shape shape;
    int first, count; // in ops
};

static struct {
    int port, connections, keys, drop_permille, seconds;
    long operations, per_key;
    unsigned seed;
    bool plain;
    FILE *history;
    int64_t end_ns;
    _Atomic long done, errors_lost, errors_refused, errors_other, dropped, transactions, swaps;
    _Atomic int next_client, failed;
} g = {.connections = 24, .keys = 12, .operations = 100000, .per_key = 1500, .seed = 1};

struct worker {
    pthread_t thread;
    int fd, client;
    bool resp3;
    uint64_t random;
    long values; // given out, for unique values
    struct op ops[MAX_OPS];
    struct command commands[BATCH + 4];
    int op_count, command_count, answered;
    char out[OUT], in[IN], text[IN];
    size_t out_size, in_begin, in_end;
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static uint32_t below(struct worker *w, uint32_t n)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)(w->random >> 32) % n;
}

static bool finished(void)
{
    return g.failed || (g.end_ns ? now_ns() >= g.end_ns : g.done >= g.operations);
}

// ---- sending -------------------------------------------------------------------------------------
static void send_command(struct worker *w, int argc, ...)
{
    va_list args;
    va_start(args, argc);
    w->out_size += (size_t)snprintf(w->out + w->out_size, OUT - w->out_size, "*%d\r\n", argc);
    for (int i = 0; i < argc; i++) {
        const char *text = va_arg(args, const char *);
        w->out_size += (size_t)snprintf(w->out + w->out_size, OUT - w->out_size, "$%zu\r\n%s\r\n",
                                        strlen(text), text);
    }
    va_end(args);
}

static bool write_all(struct worker *w)
{
    for (size_t at = 0; at < w->out_size;) {
        ssize_t n = send(w->fd, w->out + at, w->out_size - at, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    w->out_size = 0;
    return true;
}

// ---- receiving -----------------------------------------------------------------------------------
static bool more(struct worker *w)
{
    if (w->in_begin == w->in_end)
        w->in_begin = w->in_end = 0;
    if (w->in_end == IN) {
        memmove(w->in, w->in + w->in_begin, w->in_end - w->in_begin);
        w->in_end -= w->in_begin;
        w->in_begin = 0;
    }
    ssize_t n = recv(w->fd, w->in + w->in_end, IN - w->in_end, 0);
    if (n <= 0)
        return false;
    w->in_end += (size_t)n;
    return true;
}

// A line without its CRLF, into w->text.
static bool read_line(struct worker *w)
{
    for (;;) {
        char *begin = w->in + w->in_begin, *end = memchr(begin, '\n', w->in_end - w->in_begin);
        if (end) {
            size_t size = (size_t)(end - begin);
            memcpy(w->text, begin, size);
            w->text[size > 0 ? size - 1 : 0] = 0;
            w->in_begin += size + 1;
            return true;
        }
        if (!more(w))
            return false;
    }
}

struct reply {
    char type; // '+', '-', ':', '$' or '*'; '_' for any null
    long number; // of ':' and the elements of '*'
    char *text;  // in w->text until the next read
};

static bool read_reply(struct worker *w, struct reply *r)
{
    if (!read_line(w))
        return false;
    *r = (struct reply){.type = w->text[0], .text = w->text + 1};
    r->number = strtol(w->text + 1, NULL, 10);
    if (r->type == '%')
        r->type = '*', r->number *= 2;
    if (r->type == '_' || ((r->type == '$' || r->type == '*') && r->number < 0)) {
        r->type = '_';
        return true;
    }
    if (r->type != '$')
        return strchr("+-:*", r->type) != NULL;
    size_t size = (size_t)r->number + 2;
    while (w->in_end - w->in_begin < size)
        if (size > IN / 2 || !more(w))
            return false;
    memcpy(w->text, w->in + w->in_begin, size);
    w->text[size - 2] = 0;
    w->in_begin += size;
    r->text = w->text;
    return true;
}

static bool skip_reply(struct worker *w)
{
    struct reply r;
    if (!read_reply(w, &r))
        return false;
    for (long i = 0; r.type == '*' && i < r.number; i++)
        if (!skip_reply(w))
            return false;
    return true;
}

// ---- the history ---------------------------------------------------------------------------------
static void record(const struct worker *w, const struct op *op, const char *mark, const char *result,
                   int64_t invoked, int64_t returned)
{
    fprintf(g.history, "%s %d %s %s%s %d %s%s %lld %lld\n", op->key, w->client, op->kind,
            op->argument[0] ? "=" : "-", op->argument, op->ttl_ms, mark, result,
            (long long)invoked, (long long)returned);
    g.done++;
}

static void record_unknown(const struct worker *w, const struct op *op, int64_t invoked)
{
    if (!op->read)
        record(w, op, "", "?", invoked, 0);
}

static void record_error(struct worker *w, const struct op *op, const char *error, int64_t invoked,
                         int64_t returned)
{
    static const char *const refused[] = {"not applied", "LOADING", "EXECABORT", "NOSCRIPT"};
    if (strstr(error, "not an integer")) {
        record(w, op, "", "err", invoked, returned);
        return;
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
        if (strstr(error, refused[i])) {
            g.errors_refused++;
            return;
        }
    if (strstr(error, "weir:"))
        g.errors_lost++;
    else if (g.errors_other++ < 5)
        fprintf(stderr, "hammer: %s %s: %s\n", op->kind, op->key, error);
    record_unknown(w, op, invoked);
}

static void record_reply(struct worker *w, const struct op *op, const struct reply *r,
                         int64_t invoked, int64_t returned)
{
    char number[32];
    switch (r->type) {
    case '+':
        record(w, op, "", "ok", invoked, returned);
        break;
    case ':':
        snprintf(number, sizeof(number), "%ld", r->number);
        record(w, op, ":", number, invoked, returned);
        break;
    case '$':
        record(w, op, "=", r->text, invoked, returned);
        break;
    case '_':
        record(w, op, "", "nil", invoked, returned);
        break;
    default:
        record_error(w, op, r->text, invoked, returned);
    }
}

// ---- what to do ----------------------------------------------------------------------------------
static struct op *new_op(struct worker *w, const char *kind, const char *key, bool read)
{
    struct op *op = &w->ops[w->op_count++];
    *op = (struct op){.read = read};
    snprintf(op->kind, sizeof(op->kind), "%s", kind);
    memcpy(op->key, key, KEY);
    return op;
}

static struct op *new_write(struct worker *w, const char *kind, const char *key)
{
    struct op *op = new_op(w, kind, key, false);
    if (key[0] == 'c')
        snprintf(op->argument, TEXT, "%d%05ld00", w->client, w->values++);
    else
        snprintf(op->argument, TEXT, "%d.%ld;", w->client, w->values++);
    return op;
}

// r: register, c: counter, t: with TTL. The first keys are the hottest.
static void pick_key(struct worker *w, char key[KEY], char kind)
{
    uint32_t spread = below(w, (uint32_t)g.keys) * below(w, (uint32_t)g.keys) / (uint32_t)g.keys;
    long generation = g.done / (g.per_key * g.keys);
    snprintf(key, KEY, "%c%u.%ld.%u", kind ? kind : "rct"[spread % 3], spread, generation, g.seed);
}

static void add_command(struct worker *w, enum shape shape, int first)
{
    w->commands[w->command_count++] = (struct command){shape, first, w->op_count - first};
}

static void add_read(struct worker *w, const char *key)
{
    int first = w->op_count;
    new_op(w, "get", key, true);
    if (!g.plain && below(w, 60) == 0)
        send_command(w, 4, "EVAL", "return redis.call('GET', KEYS[1])", "1", key);
    else
        send_command(w, 2, "GET", key);
    add_command(w, ONE, first);
}

static void add_mget(struct worker *w)
{
    int first = w->op_count;
    char key[3][KEY];
    for (int i = 0; i < 3; i++) {
        pick_key(w, key[i], 0);
        new_op(w, "get", key[i], true);
    }
    send_command(w, 4, "MGET", key[0], key[1], key[2]);
    add_command(w, MANY, first);
}

static void add_set(struct worker *w, const char *key)
{
    int first = w->op_count;
    struct op *op = new_write(w, "set", key);
    char ttl[16];
    uint32_t how = g.plain ? 0 : below(w, 30);
    if (key[0] == 't' && below(w, 5) > 0) {
        op->ttl_ms = (int)(1 + below(w, below(w, 4) ? 40 : 300));
        snprintf(ttl, sizeof(ttl), "%d", op->ttl_ms);
        send_command(w, 5, "SET", key, op->argument, "PX", ttl);
    } else if (how == 1) {
        send_command(w, 5, "EVAL", "return redis.call('SET', KEYS[1], ARGV[1])", "1", key,
                     op->argument);
    } else if (how == 2) { // a key the script did not declare
        send_command(w, 5, "EVAL", "return redis.call('SET', ARGV[1], ARGV[2])", "0", key,
                     op->argument);
    } else if (how < 6 && !g.plain) {
        snprintf(op->kind, sizeof(op->kind), "getset");
        send_command(w, 4, "SET", key, op->argument, "GET");
    } else {
        send_command(w, 3, "SET", key, op->argument);
    }
    add_command(w, ONE, first);
}

static void add_change(struct worker *w, const char *key)
{
    int first = w->op_count;
    uint32_t what = below(w, 10);
    if (what < 2) {
        new_op(w, "del", key, false);
        send_command(w, 2, what ? "DEL" : "UNLINK", key);
    } else if (key[0] == 'c') {
        new_op(w, "incr", key, false);
        send_command(w, 2, "INCR", key);
    } else {
        struct op *op = new_write(w, "append", key);
        send_command(w, 3, "APPEND", key, op->argument);
    }
    add_command(w, ONE, first);
}

static void add_transaction(struct worker *w)
{
    int first = w->op_count;
    char key[2][KEY];
    pick_key(w, key[0], 'r');
    pick_key(w, key[1], 0);
    struct op *op = new_write(w, "set", key[0]);
    new_op(w, "get", key[1], true);
    new_op(w, "get", key[0], true);
    send_command(w, 1, "MULTI");
    send_command(w, 3, "SET", key[0], op->argument);
    send_command(w, 2, "GET", key[1]);
    send_command(w, 2, "GET", key[0]);
    send_command(w, 1, "EXEC");
    add_command(w, TRANSACTION, first);
    g.transactions++;
}

static void fill_batch(struct worker *w)
{
    static const uint32_t depths[] = {1, 1, 1, 1, 2, 4, 8, BATCH};
    uint32_t depth = 1 + below(w, depths[below(w, 8)]);
    w->op_count = w->command_count = 0;
    for (uint32_t i = 0; i < depth; i++) {
        char key[KEY];
        uint32_t what = below(w, 100);
        pick_key(w, key, 0);
        bool rests = key[0] == 't' && below(w, 8); // written seldom, so that it does expire
        if (what < 72 || (what >= 80 && rests))
            add_read(w, key);
        else if (what < 78 && !g.plain)
            add_mget(w);
        else if (what < 80 && !g.plain)
            add_transaction(w);
        else if (what < 92)
            add_set(w, key);
        else
            add_change(w, key);
    }
}

// ---- taking replies ------------------------------------------------------------------------------
// Operations are answered in their order; what was not when a connection breaks is unknown.
static bool take_element(struct worker *w, int64_t invoked)
{
    struct reply r;
    if (!read_reply(w, &r))
        return false;
    record_reply(w, &w->ops[w->answered++], &r, invoked, now_ns());
    return true;
}

static bool take_many(struct worker *w, const struct command *c, int64_t invoked)
{
    struct reply r;
    if (!read_reply(w, &r))
        return false;
    if (r.type == '*' && r.number == c->count) {
        for (int i = 0; i < c->count; i++)
            if (!take_element(w, invoked))
                return false;
        return true;
    }
    for (int i = 0; i < c->count; i++)
        record_error(w, &w->ops[w->answered++], r.type == '-' ? r.text : "an odd reply", invoked,
                     now_ns());
    return r.type == '-';
}

static bool take_reply(struct worker *w, const struct command *c, int64_t invoked)
{
    if (c->shape == ONE)
        return take_element(w, invoked);
    for (int i = 0; c->shape == TRANSACTION && i <= c->count; i++)
        if (!skip_reply(w)) // OK and QUEUED, or errors that EXEC will tell again
            return false;
    return take_many(w, c, invoked);
}

static bool run_batch(struct worker *w)
{
    fill_batch(w);
    int64_t invoked = now_ns();
    bool good = write_all(w);
    w->answered = 0;
    if (good && below(w, 1000) < (uint32_t)g.drop_permille) {
        usleep(below(w, 3000));
        g.dropped++;
        good = false;
    }
    for (int i = 0; good && i < w->command_count; i++)
        good = take_reply(w, &w->commands[i], invoked);
    for (; w->answered < w->op_count; w->answered++)
        record_unknown(w, &w->ops[w->answered], invoked);
    return good;
}

// WATCH, read, and write what depends on what was read: holds only if nobody wrote in between, so a
// success is one atomic exchange. The read may be a hit.
static bool run_watch(struct worker *w)
{
    char key[KEY];
    struct reply r;
    pick_key(w, key, 'r');
    w->op_count = w->command_count = 0;
    struct op *swap = new_write(w, "getset", key);
    struct op read = {.kind = "get", .read = true};
    memcpy(read.key, key, sizeof(key));
    send_command(w, 2, "WATCH", key);
    send_command(w, 2, "GET", key);
    int64_t invoked = now_ns();
    if (!write_all(w) || !skip_reply(w) || !read_reply(w, &r))
        return false;
    record_reply(w, &read, &r, invoked, now_ns());
    bool was_nil = r.type == '_';
    char old[IN / 16];
    snprintf(old, sizeof(old), "%s", r.text);
    if (r.type == '-' || strlen(r.text) >= sizeof(old)) {
        send_command(w, 1, "UNWATCH");
        return write_all(w) && skip_reply(w);
    }
    send_command(w, 1, "MULTI");
    send_command(w, 3, "SET", key, swap->argument);
    send_command(w, 1, "EXEC");
    int64_t sent = now_ns();
    if (!write_all(w) || !skip_reply(w) || !skip_reply(w) || !read_reply(w, &r)) {
        record_unknown(w, swap, sent);
        return false;
    }
    if (r.type == '-')
        record_error(w, swap, r.text, sent, now_ns());
    else if (r.type == '*') {
        if (!read_reply(w, &r)) {
            record_unknown(w, swap, sent);
            return false;
        }
        if (r.type == '-')
            record_error(w, swap, r.text, sent, now_ns());
        else
            record(w, swap, was_nil ? "" : "=", was_nil ? "nil" : old, sent, now_ns());
        g.swaps += r.type != '-';
    }
    return true;
}

// ---- connections ---------------------------------------------------------------------------------
static bool greet(struct worker *w)
{
    struct reply r;
    send_command(w, 2, "HELLO", "3");
    if (!write_all(w) || !read_reply(w, &r))
        return false;
    for (long i = 0; r.type == '*' && i < r.number; i++)
        if (!skip_reply(w))
            return false;
    return r.type == '*';
}

static bool try_connect(struct worker *w)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)g.port)};
    struct timeval patience = {.tv_sec = 30};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    w->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    w->in_begin = w->in_end = w->out_size = 0;
    setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(w->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(w->fd, (struct sockaddr *)&address, sizeof(address)) == 0 && (!w->resp3 || greet(w))) {
        w->client = ++g.next_client;
        return true;
    }
    close(w->fd);
    w->fd = -1;
    return false;
}

static void reconnect(struct worker *w)
{
    if (w->fd >= 0)
        close(w->fd);
    for (int64_t end = now_ns() + 30000000000ll; !try_connect(w); usleep(20000))
        if (finished()) {
            return;
        } else if (now_ns() > end) {
            fprintf(stderr, "hammer: no connection in 30 s\n");
            g.failed = 1;
        }
}

static void *work(void *argument)
{
    struct worker *w = argument;
    reconnect(w);
    while (!finished() && w->fd >= 0) {
        bool good = !g.plain && below(w, 25) == 0 ? run_watch(w) : run_batch(w);
        if (!good)
            reconnect(w);
    }
    if (w->fd >= 0)
        close(w->fd);
    return NULL;
}

static bool options(int argc, char **argv)
{
    for (int c; (c = getopt(argc, argv, "p:o:n:c:k:r:d:t:g:P")) != -1;) {
        int value = optarg ? atoi(optarg) : 0;
        switch (c) {
        case 'p': g.port = value; break;
        case 'o': g.history = fopen(optarg, "w"); break;
        case 'n': g.operations = value; break;
        case 'c': g.connections = value; break;
        case 'k': g.keys = value; break;
        case 'r': g.seed = (unsigned)value; break;
        case 'd': g.drop_permille = value; break;
        case 't': g.seconds = value; break;
        case 'g': g.per_key = value; break;
        case 'P': g.plain = true; break;
        default: return false;
        }
    }
    return g.port > 0 && g.history && g.connections > 0 && g.keys > 0 && g.per_key > 0;
}

int main(int argc, char **argv)
{
    if (!options(argc, argv)) {
        fprintf(stderr, "usage: hammer -p PORT -o HISTORY [-n OPERATIONS] [-c CONNECTIONS] [-k KEYS]"
                        " [-r SEED] [-d PERMILLE] [-t SECONDS] [-g OPERATIONS_A_KEY] [-P]\n");
        return 2;
    }
    if (g.seconds)
        g.end_ns = now_ns() + g.seconds * 1000000000ll;
    struct worker *workers = calloc((size_t)g.connections, sizeof(*workers));
    if (!workers)
        return 1;
    for (int i = 0; i < g.connections; i++) {
        workers[i].fd = -1;
        workers[i].resp3 = !g.plain && i % 2;
        workers[i].random = (g.seed + (uint64_t)i) * 0x9e3779b97f4a7c15ull | 1;
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    for (int i = 0; i < g.connections; i++)
        pthread_join(workers[i].thread, NULL);
    free(workers);
    if (fclose(g.history) != 0)
        g.failed = 1;
    printf("hammer: %ld operations, %d connections made, %ld dropped, %ld transactions, %ld swaps; "
           "errors: %ld lost, %ld refused, %ld other\n",
           g.done, g.next_client, g.dropped, g.transactions, g.swaps, g.errors_lost,
           g.errors_refused, g.errors_other);
    return g.failed || g.errors_other ? 1 : 0;
}
