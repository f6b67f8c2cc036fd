// Stream sockets. errno of the network is read here and nowhere else, and leaves as a weir_err.
//
// Name resolution (getaddrinfo) blocks its thread; numeric addresses, which is what most
// configurations name, never do. Where a name has several addresses IPv4 is preferred: a server
// that listens on "localhost" may have only that, and a non-blocking connect can't try the next one.
#include "loop/net.h"
#include "base/err.h"
#include "base/slice.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int error_code(int error)
{
    switch (error) {
    case EAGAIN:
    case EINTR:
    case EINPROGRESS:
        return WEIR_EAGAIN;
    case ECONNREFUSED:
        return WEIR_ECONNREFUSED;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ENOTCONN:
        return WEIR_ERESET;
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return WEIR_ETIMEDOUT;
    case ENOENT:
        return WEIR_ENOENT;
    case EACCES:
    case EPERM:
        return WEIR_EPERM;
    case EADDRINUSE:
        return WEIR_EINUSE;
    case EMFILE:
    case ENFILE:
        return WEIR_ERANGE;
    case ENOMEM:
    case ENOBUFS:
        return WEIR_ENOMEM;
    case EINVAL:
    case EADDRNOTAVAIL:
        return WEIR_EINVAL;
    default:
        return WEIR_EIO;
    }
}

// ---- addresses -----------------------------------------------------------------------------------

static int parse_port(const char *text, uint16_t *port)
{
    int64_t value;
    size_t digits = strnlen(text, 6);
    if (digits == 0 || digits > 5 || slice_to_i64(slice_of(text, digits), &value) != 0 ||
        value < 0 || value > UINT16_MAX)
        return WEIR_EINVAL;
    *port = (uint16_t)value;
    return 0;
}

static bool host_is_plain(const char *host, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char c = host[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && strchr(".-_:%", c) == NULL)
            return false;
    }
    return size > 0;
}

static int parse_unix(struct net_address *out, const char *path)
{
    size_t size = strnlen(path, NET_ADDRESS_TEXT);
    if (size == 0 || size >= sizeof((struct sockaddr_un *)0)->sun_path)
        return WEIR_EINVAL;
    *out = (struct net_address){.is_unix = true};
    memcpy(out->host, path, size);
    return 0;
}

int net_address_parse(struct net_address *out, const char *text, uint16_t default_port)
{
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(out, text + 5);
    if (strnlen(text, 2 * NET_ADDRESS_TEXT) == 2 * NET_ADDRESS_TEXT)
        return WEIR_EINVAL;
    const char *host = text, *host_end, *port = NULL;
    if (text[0] == '[') {
        host = text + 1;
        host_end = strchr(host, ']');
        if (host_end == NULL || (host_end[1] != '\0' && host_end[1] != ':'))
            return WEIR_EINVAL;
        port = host_end[1] == ':' ? host_end + 2 : NULL;
    } else {
        const char *colon = strchr(text, ':');
        bool bare_v6 = colon != NULL && strchr(colon + 1, ':') != NULL;
        host_end = colon == NULL || bare_v6 ? text + strlen(text) : colon;
        port = colon == NULL || bare_v6 ? NULL : colon + 1;
    }
    size_t size = (size_t)(host_end - host);
    struct net_address parsed = {.port = default_port};
    if (size >= NET_ADDRESS_TEXT || !host_is_plain(host, size) ||
        (port != NULL && parse_port(port, &parsed.port) != 0))
        return WEIR_EINVAL;
    memcpy(parsed.host, host, size);
    *out = parsed;
    return 0;
}

void net_address_format(const struct net_address *address, char *out, size_t size)
{
    if (address->is_unix)
        snprintf(out, size, "unix:%s", address->host);
    else if (strchr(address->host, ':') != NULL)
        snprintf(out, size, "[%s]:%u", address->host, address->port);
    else
        snprintf(out, size, "%s:%u", address->host, address->port);
}

static int resolve(const struct net_address *address, bool to_listen,
                   struct sockaddr_storage *where, socklen_t *where_size)
{
    memset(where, 0, sizeof *where);
    if (address->is_unix) {
        struct sockaddr_un *local = (struct sockaddr_un *)where;
        local->sun_family = AF_UNIX;
        snprintf(local->sun_path, sizeof local->sun_path, "%.107s", address->host);
        *where_size = sizeof *local;
        return 0;
    }
    char port[8];
    snprintf(port, sizeof port, "%u", address->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0)};
    struct addrinfo *list;
    if (getaddrinfo(address->host, port, &hints, &list) != 0)
        return WEIR_ENOENT;
    const struct addrinfo *choice = list;
    for (const struct addrinfo *entry = list; entry != NULL; entry = entry->ai_next)
        if (entry->ai_family == AF_INET) {
            choice = entry;
            break;
        }
    memcpy(where, choice->ai_addr, choice->ai_addrlen);
    *where_size = choice->ai_addrlen;
    freeaddrinfo(list);
    return 0;
}

static void format_socket_address(const struct sockaddr_storage *where, char *out, size_t size)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (where->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)where;
        inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
        snprintf(out, size, "%s:%u", text, ntohs(v4->sin_port));
    } else if (where->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)where;
        inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
        snprintf(out, size, "[%s]:%u", text, ntohs(v6->sin6_port));
    } else {
        const struct sockaddr_un *local = (const struct sockaddr_un *)where;
        snprintf(out, size, "%.108s", local->sun_path);
    }
}

void net_local(int fd, char *out, size_t size)
{
    struct sockaddr_storage where = {0};
    socklen_t where_size = sizeof where;
    if (size == 0)
        return;
    out[0] = '\0';
    if (getsockname(fd, (struct sockaddr *)&where, &where_size) == 0)
        format_socket_address(&where, out, size);
}

// ---- making sockets ------------------------------------------------------------------------------

static int open_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd >= 0 ? fd : error_code(errno);
}

static void set_option(int fd, int level, int option, int value)
{
    setsockopt(fd, level, option, &value, sizeof value);
}

static int fail_closing(int fd, int error)
{
    close(fd);
    return error_code(error);
}

// A socket file that nobody listens on is left over from a process that was killed.
static void unlink_stale(const struct sockaddr_storage *where, socklen_t where_size)
{
    int fd = open_socket(AF_UNIX);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)where, where_size) != 0 && errno == ECONNREFUSED)
        unlink(((const struct sockaddr_un *)where)->sun_path);
    close(fd);
}

int net_listen(const struct net_address *address, int backlog)
{
    struct sockaddr_storage where;
    socklen_t where_size;
    int err = resolve(address, true, &where, &where_size);
    if (err != 0)
        return err;
    int fd = open_socket(where.ss_family);
    if (fd < 0)
        return fd;
    if (address->is_unix)
        unlink_stale(&where, where_size);
    else
        set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (where.ss_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (bind(fd, (struct sockaddr *)&where, where_size) != 0 || listen(fd, backlog) != 0)
        return fail_closing(fd, errno);
    return fd;
}

int net_accept(int listener, char *peer, size_t peer_size)
{
    struct sockaddr_storage where = {0};
    socklen_t where_size = sizeof where;
    int fd = accept4(listener, (struct sockaddr *)&where, &where_size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return error_code(errno);
    if (where.ss_family == AF_UNIX) {
        if (peer != NULL)
            net_local(listener, peer, peer_size);
    } else {
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        if (peer != NULL && peer_size > 0)
            format_socket_address(&where, peer, peer_size);
    }
    return fd;
}

int net_connect(const struct net_address *address)
{
    struct sockaddr_storage where;
    socklen_t where_size;
    int err = resolve(address, false, &where, &where_size);
    if (err != 0)
        return err;
    int fd = open_socket(where.ss_family);
    if (fd < 0)
        return fd;
    if (where.ss_family != AF_UNIX)
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (connect(fd, (struct sockaddr *)&where, where_size) == 0 || errno == EINPROGRESS)
        return fd;
    // a Unix listener with a full backlog says EAGAIN and won't tell when there is room
    return fail_closing(fd, errno == EAGAIN ? ECONNREFUSED : errno);
}

int net_connect_result(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return error_code(errno);
    if (error != 0)
        return error_code(error);
    struct sockaddr_storage peer;
    socklen_t peer_size = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0)
        return 0;
    return errno == ENOTCONN ? WEIR_EAGAIN : error_code(errno);
}

bool net_is_loopback(int fd)
{
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0)
        return false;
    if (peer.ss_family == AF_UNIX)
        return true;
    if (peer.ss_family == AF_INET)
        return ntohl(((struct sockaddr_in *)&peer)->sin_addr.s_addr) >> 24 == 127;
    const struct in6_addr *v6 = &((struct sockaddr_in6 *)&peer)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

// ---- bytes ---------------------------------------------------------------------------------------

ssize_t net_read(int fd, void *out, size_t room)
{
    ssize_t got = recv(fd, out, room, 0);
    if (got > 0)
        return got;
    return got == 0 ? WEIR_EOF : error_code(errno);
}

ssize_t net_write(int fd, const void *data, size_t size)
{
    ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    return sent >= 0 ? sent : error_code(errno);
}

ssize_t net_writev(int fd, const struct iovec *vectors, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)vectors,
                             .msg_iovlen = (size_t)count};
    ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    return sent >= 0 ? sent : error_code(errno);
}

void net_close(int fd)
{
    close(fd);
}

void net_set_buffers(int fd, int receive_bytes, int send_bytes)
{
    if (receive_bytes > 0)
        set_option(fd, SOL_SOCKET, SO_RCVBUF, receive_bytes);
    if (send_bytes > 0)
        set_option(fd, SOL_SOCKET, SO_SNDBUF, send_bytes);
}

void net_set_keepalive(int fd, int idle_s)
{
    int interval = idle_s / 3 > 0 ? idle_s / 3 : 1;
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_s);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, interval);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}
