#include "cli/query.h"
#include "base/err.h"
#include "loop/net.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int await(int fd, short events)
{
    struct pollfd waited = {fd, events, 0};
    int ready = poll(&waited, 1, QUERY_WAIT_MS);
    return ready > 0 ? 0 : ready == 0 ? WEIR_ETIMEDOUT : WEIR_EIO;
}

int query_connect(const char *address)
{
    struct net_address parsed;
    int code = net_address_parse(&parsed, address, 6380);
    if (code != 0)
        return code;
    int fd = net_connect(&parsed);
    if (fd < 0)
        return fd;
    code = await(fd, POLLOUT);
    if (code == 0)
        code = net_connect_result(fd);
    if (code == 0)
        return fd;
    net_close(fd);
    return code == WEIR_EAGAIN ? WEIR_ETIMEDOUT : code;
}

static int send_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = net_write(fd, data, size);
        int code = sent == WEIR_EAGAIN ? await(fd, POLLOUT) : sent < 0 ? (int)sent : 0;
        if (code != 0)
            return code;
        if (sent > 0) {
            data += sent;
            size -= (size_t)sent;
        }
    }
    return 0;
}

static int command_send(int fd, unsigned count, const char *const arguments[])
{
    char request[2048];
    size_t used = (size_t)snprintf(request, sizeof(request), "*%u\r\n", count);
    for (unsigned i = 0; i < count; i++) {
        int size = snprintf(request + used, sizeof(request) - used, "$%zu\r\n%s\r\n",
                            strlen(arguments[i]), arguments[i]);
        if (size < 0 || used + (size_t)size >= sizeof(request))
            return WEIR_ERANGE;
        used += (size_t)size;
    }
    return send_all(fd, request, used);
}

// Bytes into `out` until it holds `size`, or a whole line when `size` is 0.
static int receive(int fd, char *out, size_t room, size_t *used, size_t size)
{
    while (size > 0 ? *used < size : memmem(out, *used, "\r\n", 2) == NULL) {
        if (*used + 1 >= room || size >= room)
            return WEIR_ERANGE;
        ssize_t got = net_read(fd, out + *used, room - 1 - *used);
        int code = got == WEIR_EAGAIN ? await(fd, POLLIN) : got < 0 ? (int)got : 0;
        if (code != 0)
            return code;
        if (got > 0)
            *used += (size_t)got;
    }
    return 0;
}

ssize_t query_ask(int fd, unsigned count, const char *const arguments[], char *out, size_t room)
{
    size_t used = 0, begin = 1;
    int code = command_send(fd, count, arguments);
    if (code == 0)
        code = receive(fd, out, room, &used, 0);
    if (code != 0)
        return code;
    char *line_end = memmem(out, used, "\r\n", 2);
    size_t size = (size_t)(line_end - out) - 1;
    char kind = out[0];
    if (kind == '$') {
        char *end;
        unsigned long length = strtoul(out + 1, &end, 10);
        if (end != line_end || length >= room)
            return WEIR_EMALFORMED;
        begin = (size_t)(line_end - out) + 2;
        size = length;
        code = receive(fd, out, room, &used, begin + length + 2);
    } else if (kind != '+' && kind != '-') {
        code = WEIR_EMALFORMED;
    }
    if (code != 0)
        return code;
    memmove(out, out + begin, size);
    out[size] = '\0';
    return kind == '-' ? WEIR_EPERM : (ssize_t)size;
}

ssize_t query(const char *address, unsigned count, const char *const arguments[], char *out,
              size_t room)
{
    int fd = query_connect(address);
    if (fd < 0)
        return fd;
    ssize_t size = query_ask(fd, count, arguments, out, room);
    net_close(fd);
    return size;
}
