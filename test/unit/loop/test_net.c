#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "loop/net.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void parses_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *formatted;
    } good[] = {
        {"127.0.0.1:6380", "127.0.0.1:6380"}, {"localhost", "localhost:6379"},
        {"[::1]:1", "[::1]:1"},               {"[::1]", "[::1]:6379"},
        {"::1", "[::1]:6379"},                {"a-b.c_d:65535", "a-b.c_d:65535"},
        {"unix:/run/weir.sock", "unix:/run/weir.sock"}, {"h:0", "h:0"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct net_address address;
        char text[NET_ADDRESS_TEXT + 8];
        assert_int_equal(net_address_parse(&address, good[i].text, 6379), 0);
        net_address_format(&address, text, sizeof text);
        assert_string_equal(text, good[i].formatted);
    }
    char long_host[400], long_path[400];
    memset(long_host, 'h', sizeof long_host);
    long_host[399] = '\0';
    memset(long_path, 'p', sizeof long_path);
    memcpy(long_path, "unix:", 5);
    long_path[5 + 108] = '\0';
    char host_127[200];
    memset(host_127, 'h', sizeof host_127);
    host_127[128] = '\0';
    const char *bad[] = {"",      ":6379",     "h:",      "h:65536", "h:-1",   "h:1x",    "h:999999",
                         "[::1",  "[::1]x",    "[::1]:",  "[]:1",    "a b:1",  "h:\n1",   "unix:",
                         long_host, long_path, host_127,  "h/x",     "h:+1",   "[h:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct net_address address = {.port = 77};
        assert_int_equal(net_address_parse(&address, bad[i], 6379), WEIR_EINVAL);
        assert_int_equal(address.port, 77);
    }
}

static void wait_for(int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    assert_int_equal(poll(&poll_fd, 1, -1), 1);
}

static void exchange(int listener, const struct net_address *address)
{
    char peer[NET_ADDRESS_TEXT] = "", text[16];
    assert_int_equal(net_accept(listener, peer, sizeof peer), WEIR_EAGAIN);
    int client = net_connect(address);
    assert_true(client >= 0);
    wait_for(client, POLLOUT);
    assert_int_equal(net_connect_result(client), 0);
    wait_for(listener, POLLIN);
    int server = net_accept(listener, peer, sizeof peer);
    assert_true(server >= 0);
    assert_true(strlen(peer) > 0);
    assert_true(net_is_loopback(server));
    net_set_keepalive(server, 60);
    net_set_buffers(server, 4096, 4096);

    assert_int_equal(net_read(server, text, sizeof text), WEIR_EAGAIN);
    struct iovec vectors[] = {{"ab", 2}, {"cde", 3}};
    assert_int_equal(net_writev(client, vectors, 2), 5);
    wait_for(server, POLLIN);
    assert_int_equal(net_read(server, text, sizeof text), 5);
    assert_memory_equal(text, "abcde", 5);
    shutdown(client, SHUT_WR);
    wait_for(server, POLLIN);
    assert_int_equal(net_read(server, text, sizeof text), WEIR_EOF);
    assert_int_equal(net_write(server, "x", 1), 1);
    net_close(client);
    for (ssize_t sent = 1; sent > 0;) // no SIGPIPE
        assert_true((sent = net_write(server, "x", 1)) == 1 || sent == WEIR_ERESET);
    net_close(server);
}

static void talks_over_tcp(void **state)
{
    (void)state;
    struct net_address address;
    char local[NET_ADDRESS_TEXT];
    assert_int_equal(net_address_parse(&address, "127.0.0.1:0", 1), 0);
    int listener = net_listen(&address, 8);
    assert_true(listener >= 0);
    net_local(listener, local, sizeof local);
    assert_int_equal(net_address_parse(&address, local, 1), 0);
    exchange(listener, &address);
    assert_int_equal(net_listen(&address, 8), WEIR_EINUSE);
    net_close(listener);
    int refused = net_connect(&address);
    if (refused >= 0) {
        wait_for(refused, POLLOUT);
        assert_int_equal(net_connect_result(refused), WEIR_ECONNREFUSED);
        net_close(refused);
    } else {
        assert_int_equal(refused, WEIR_ECONNREFUSED);
    }
}

static void talks_over_unix_sockets(void **state)
{
    (void)state;
    struct net_address address;
    char text[64];
    snprintf(text, sizeof text, "unix:/tmp/test_net_%d.sock", (int)getpid());
    assert_int_equal(net_address_parse(&address, text, 1), 0);
    assert_int_equal(net_connect(&address), WEIR_ENOENT);
    int listener = net_listen(&address, 8);
    assert_true(listener >= 0);
    exchange(listener, &address);
    assert_int_equal(net_listen(&address, 8), WEIR_EINUSE); // in use: not unlinked
    net_close(net_accept(listener, NULL, 0)); // the probe
    exchange(listener, &address);
    net_close(listener);
    int again = net_listen(&address, 8); // stale: replaced
    assert_true(again >= 0);
    exchange(again, &address);
    net_close(again);
    unlink(address.host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_addresses),
        cmocka_unit_test(talks_over_tcp),
        cmocka_unit_test(talks_over_unix_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
