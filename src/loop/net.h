#pragma once
// Non-blocking stream sockets, the only place that sees errno of the network. Part of the seam.
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/uio.h>
#include <sys/types.h>

enum { NET_ADDRESS_TEXT = 128 };

// "host:port", "[v6]:port", "host" (with a default port) or "unix:/path".
struct net_address {
    bool is_unix;
    uint16_t port;
    char host[NET_ADDRESS_TEXT]; // or the path of the Unix socket
};

int net_address_parse(struct net_address *out, const char *text, uint16_t default_port);
// "host:port" or "unix:/path", always terminated.
void net_address_format(const struct net_address *address, char *out, size_t size);

// Each returns a descriptor >= 0 or a negative weir_err. Sockets are non-blocking and close-on-exec.
int net_listen(const struct net_address *address, int backlog);
// `peer` (may be NULL) gets "ip:port", or the path for Unix sockets. TCP_NODELAY is set.
int net_accept(int listener, char *peer, size_t peer_size);
// Starts a connection; writable when it is up or has failed: then ask net_connect_result.
int net_connect(const struct net_address *address);
int net_connect_result(int fd); // 0, WEIR_EAGAIN while under way, or a negative code
bool net_is_loopback(int fd);   // the peer is on a loopback address or a Unix socket
void net_local(int fd, char *out, size_t size); // this end's "ip:port" or path

// > 0 bytes moved, WEIR_EAGAIN, WEIR_EOF (read only), or another negative code.
ssize_t net_read(int fd, void *out, size_t room);
ssize_t net_write(int fd, const void *data, size_t size);
ssize_t net_writev(int fd, const struct iovec *vectors, int count);
void net_close(int fd);
// Half of a slow peer's protection: bounds what the kernel keeps for one socket (0: leave it).
void net_set_buffers(int fd, int receive_bytes, int send_bytes);
void net_set_keepalive(int fd, int idle_s);
