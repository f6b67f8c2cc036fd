// links:
// The least a socket server can cost: what every figure of a proxy here is held against.
//
//     epoll_wait ──► read (once) ──► frame each request ──► one constant reply each ──► write
//     (once)
//
// One thread, level triggered epoll, non-blocking sockets, one read buffer and one write buffer for
// everybody. A request is framed as RESP (multibulk), honestly: every length is read and skipped
// over, so the next request is found as any server must find it. No key is looked at, nothing is
// looked up: the answer is always the same 64-byte bulk string, copied once for each request.
//
// What is left over of a request cut in half by a read waits in a small buffer of its connection.
// A request larger than that buffer closes the connection; this is a yardstick, not a server.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const char reply[] = "$64\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";

enum {
    READ_BYTES = 64 * 1024,
    REST_BYTES = 8 * 1024, // the longest request that may be cut by a read
    REPLY_BYTES = sizeof reply - 1,
    SHORTEST_REQUEST = 4, // "*0\r\n": bounds the replies that one read can ask for
    EVENTS = 1024,
};

struct connection {
    int fd;
    unsigned rest; // bytes of an unfinished request
    char bytes[REST_BYTES];
};

struct floor {
    int epoll_fd, listen_fd;
    char *in;  // REST_BYTES of room for a rest, then READ_BYTES
    char *out; // the replies to one read
};

__attribute__((noreturn)) static void die(const char *what)
{
    perror(what);
    exit(1);
}

// "<digits>\r\n" at p. Returns what follows it, or NULL when it is unfinished or no such thing.
static const char *frame_number(const char *p, const char *end, long *out)
{
    long value = 0;
    while (p < end && *p >= '0' && *p <= '9' && value < READ_BYTES)
        value = value * 10 + (*p++ - '0');
    if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return NULL;
    *out = value;
    return p + 2;
}

// Returns the end of the request at p, or NULL when more bytes are needed (or it is malformed:
// then no more bytes help and the connection ends when its rest is full).
static const char *frame_request(const char *p, const char *end)
{
    long count, size;
    if (p == end || *p != '*' || !(p = frame_number(p + 1, end, &count)))
        return NULL;
    while (count-- > 0) {
        if (p == end || *p != '$' || !(p = frame_number(p + 1, end, &size)) || end - p < size + 2)
            return NULL;
        p += size + 2;
    }
    return p;
}

static bool write_all(int fd, const char *p, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EAGAIN) { // never with a generator that reads its replies
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            poll(&wait, 1, -1);
            continue;
        }
        if (n <= 0)
            return false;
        p += n;
        size -= (size_t)n;
    }
    return true;
}

// Answers what one read brings. Returns false when the connection is over.
static bool serve(struct floor *f, struct connection *c)
{
    ssize_t n = read(c->fd, f->in + REST_BYTES, READ_BYTES);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    const char *p = f->in + REST_BYTES - c->rest, *end = f->in + REST_BYTES + n;
    memcpy(f->in + REST_BYTES - c->rest, c->bytes, c->rest);
    char *out = f->out;
    for (const char *next; (next = frame_request(p, end)); p = next) {
        memcpy(out, reply, REPLY_BYTES);
        out += REPLY_BYTES;
    }
    size_t rest = (size_t)(end - p);
    if (rest > REST_BYTES)
        return false;
    memcpy(c->bytes, p, rest);
    c->rest = (unsigned)rest;
    return out == f->out || write_all(c->fd, f->out, (size_t)(out - f->out));
}

static void accept_one(struct floor *f)
{
    int fd = accept4(f->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct connection *c = malloc(sizeof *c);
    if (!c)
        die("malloc");
    c->fd = fd;
    c->rest = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, fd, &event))
        die("epoll_ctl");
} // NOLINT(clang-analyzer-unix.Malloc): epoll holds the connection

static void run(struct floor *f)
{
    struct epoll_event events[EVENTS];
    for (;;) {
        int n = epoll_wait(f->epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                accept_one(f);
            } else if (!serve(f, c)) {
                close(c->fd);
                free(c);
            }
        }
    }
}

static int listen_on(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        die("listen");
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: floor PORT\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    struct floor f = {
        .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
        .listen_fd = listen_on(atoi(argv[1])),
        .in = malloc(REST_BYTES + READ_BYTES),
        .out = malloc((size_t)(REST_BYTES + READ_BYTES) / SHORTEST_REQUEST * REPLY_BYTES)};
    if (!f.in || !f.out)
        die("malloc");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(f.epoll_fd, EPOLL_CTL_ADD, f.listen_fd, &event))
        die("epoll_ctl");
    run(&f);
    return 0;
}
