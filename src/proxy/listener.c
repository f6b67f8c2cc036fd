// Accepting and handing over. A connection is refused here, before anything is kept for it: beyond
// loopback without a password (protected mode), or past maxclients. What is accepted goes to the
// thread with the fewest clients, counting those of the same burst that are still on their way.
//
// Rejected: SO_REUSEPORT with a listener per thread. The kernel spreads by a hash of addresses, and
// ten connections over two threads then lie eight to two as often as not.
#include "proxy/listener.h"
#include "base/err.h"
#include "base/log.h"
#include "loop/net.h"
#include "proxy/core.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { ACCEPT_BURST = 64 };

int listener_open(struct listener *listener, const struct config *config, const char *address,
                  char error[CONFIG_ERROR])
{
    struct net_address parsed;
    if (net_address_parse(&parsed, address, 6380) != 0) {
        snprintf(error, CONFIG_ERROR, "listen: '%s' is not an address (host:port or unix:/path)",
                 address);
        return WEIR_EINVAL;
    }
    int fd = net_listen(&parsed, (int)config->tcp_backlog);
    if (fd < 0) {
        snprintf(error, CONFIG_ERROR,
                 "listen %s: %s (is another server there? try 'listen' or --listen with another port)",
                 address, weir_strerror(fd));
        return fd;
    }
    listener->is_unix = parsed.is_unix;
    listener->io.fd = fd;
    if (parsed.is_unix)
        chmod(parsed.host, (mode_t)strtol(config->unixsocketperm, NULL, 8));
    listener->loopback = parsed.is_unix || strncmp(parsed.host, "127.", 4) == 0 ||
                         strcmp(parsed.host, "::1") == 0 || strcmp(parsed.host, "localhost") == 0;
    snprintf(listener->address, sizeof listener->address, "%s", address);
    return 0;
}

static void refuse(int fd, struct worker *worker, const char *line)
{
    net_write(fd, line, strlen(line));
    net_close(fd);
    worker_count(worker, METRIC_connections_refused_total, 1);
}

// Redis's own words, with weir's directive names.
static const char protected_words[] =
    "-DENIED Redis is running in protected mode because protected mode is enabled and no password is "
    "set for the default user. In this mode connections are only accepted from the loopback "
    "interface. If you want to connect from external computers to weir you may adopt one of the "
    "following solutions: 1) Set 'requirepass'. 2) Set 'protected-mode no' if only trusted hosts can "
    "reach this port. 3) Listen on the loopback interface only.\r\n";

static unsigned least_loaded(struct proxy *proxy)
{
    unsigned best = 0;
    for (unsigned i = 1; i < proxy->workers; i++) {
        if (atomic_load(&proxy->worker[i]->client_count) + proxy->worker[i]->given <
            atomic_load(&proxy->worker[best]->client_count) + proxy->worker[best]->given)
            best = i;
    }
    return best;
}

static void hand_over(struct worker *worker, const struct client_identity *identity)
{
    struct proxy *proxy = worker->proxy;
    unsigned to = least_loaded(proxy);
    if (to == worker->index) {
        client_create(worker, identity);
        return;
    }
    struct block *block = block_borrow(&worker->blocks);
    if (block == NULL) {
        client_create(worker, identity);
        return;
    }
    struct client_mail *letter = (struct client_mail *)(void *)block->data;
    letter->block = block;
    letter->identity = *identity;
    proxy->worker[to]->given++;
    worker_send(worker, to, &letter->mail, MAIL_CLIENT);
}

static void welcome(struct listener *listener, struct client_identity *identity)
{
    struct worker *worker = listener->worker;
    struct proxy *proxy = worker->proxy;
    const struct config *config = &worker->settings->config;
    worker_count(worker, METRIC_connections_total, 1);
    identity->loopback = listener->is_unix || net_is_loopback(identity->fd);
    if (!identity->loopback && config->protected_mode && config->requirepass[0] == '\0') {
        refuse(identity->fd, worker, protected_words);
        return;
    }
    if (atomic_fetch_add(&proxy->clients, 1) >= config->maxclients) {
        atomic_fetch_sub(&proxy->clients, 1);
        refuse(identity->fd, worker, "-ERR max number of clients reached\r\n");
        return;
    }
    identity->id = atomic_fetch_add(&proxy->next_client_id, 1) + 1;
    identity->created_ns = worker->now_ns;
    identity->protocol = 2;
    identity->db = (uint8_t)config->store.db;
    identity->authenticated = config->requirepass[0] == '\0';
    net_local(identity->fd, identity->local, sizeof identity->local);
    if (!listener->is_unix)
        net_set_keepalive(identity->fd, (int)config->tcp_keepalive_s);
    hand_over(worker, identity);
}

static void listener_ready(struct loop_fd *io, uint32_t events)
{
    struct listener *listener = (struct listener *)io;
    (void)events;
    worker_take_settings(listener->worker);
    listener->worker->now_ns = clock_now_ns();
    for (unsigned i = 0; i < listener->worker->proxy->workers; i++)
        listener->worker->proxy->worker[i]->given = 0;
    for (int i = 0; i < ACCEPT_BURST; i++) {
        struct client_identity identity = {0};
        identity.fd = net_accept(io->fd, identity.address, sizeof identity.address);
        if (identity.fd == WEIR_EAGAIN)
            return;
        if (identity.fd < 0) {
            log_write(LOG_WARN, "accept failed", "listen=%s error=\"%s\"", listener->address,
                      weir_strerror(identity.fd));
            return;
        }
        if (listener->is_unix)
            snprintf(identity.address, sizeof identity.address, "%.60s:0", listener->address + 5);
        welcome(listener, &identity);
    }
}

int listener_start(struct listener *listener, struct worker *worker)
{
    listener->worker = worker;
    listener->io.events = LOOP_READ;
    listener->io.ready = listener_ready;
    return loop_add(worker->loop, &listener->io);
}

void listener_close(struct listener *listener)
{
    if (listener->io.fd < 0)
        return;
    if (listener->worker != NULL)
        loop_remove(listener->worker->loop, &listener->io);
    net_close(listener->io.fd);
    listener->io.fd = -1;
    if (listener->is_unix)
        remove(listener->address + 5);
}
