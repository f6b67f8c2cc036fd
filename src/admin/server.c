// The admin listener: threads, limits, and one table of paths.
//
//   HTTP thread (libmicrohttpd, epoll) ── proxy reports ──► answer buffer ──► socket
//   sampler thread, once a second ─────── proxy_stats ────► history (under admin->lock)
//
// Invariants
//   - Reads only: nothing here changes the proxy, so there is nothing to authorize. What is shown
//     holds no password.
//   - Memory: struct admin is all of it, but for libmicrohttpd's connections (bounded in number and
//     size) and one JSON tree at a time. Large answers are written into one of ADMIN_ANSWERS
//     buffers, which a slow reader keeps until it has read or is cut; when all are out, the answer
//     is 503. The page and the health checks need no buffer.
//   - Signals go to the main thread: both threads here start with all of them blocked.
//
// Rejected: a thread per connection (unbounded stacks); serving HTTP from a worker's loop
// (rendering 100 KB would delay clients); history kept by the page (it would begin when the trouble
// is over).
#include "admin/admin.h"
#include "admin/http.h"
#include "admin/internal.h"
#include "base/err.h"
#include "base/log.h"
#include "loop/clock.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void *sampler_run(void *context)
{
    struct admin *admin = context;
    struct timespec next;
    pthread_mutex_lock(&admin->lock);
    while (!admin->stopping) {
        pthread_mutex_unlock(&admin->lock);
        proxy_stats(admin->proxy, &admin->sampled);
        pthread_mutex_lock(&admin->lock);
        history_add(&admin->history, &admin->sampled, clock_now_ns());
        clock_gettime(CLOCK_MONOTONIC, &next);
        next.tv_sec++;
        while (!admin->stopping && pthread_cond_timedwait(&admin->wake, &admin->lock, &next) == 0)
            ;
    }
    pthread_mutex_unlock(&admin->lock);
    return NULL;
}

static struct MHD_Daemon *start_daemon(struct admin *admin, int listener)
{
    return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL,
                            http_request, admin, MHD_OPTION_LISTEN_SOCKET, listener,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)ADMIN_CONNECTIONS,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)ADMIN_CONNECTION_BYTES,
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)ADMIN_TIMEOUT_S,
                            MHD_OPTION_END);
}

// Takes `listener`.
static int start_threads(struct admin *admin, int listener)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&admin->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&admin->lock, NULL);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&admin->sampler, NULL, sampler_run, admin) == 0 ? 0 : WEIR_ENOMEM;
    if (result == 0) {
        pthread_setname_np(admin->sampler, "weir-sampler");
        admin->daemon = start_daemon(admin, listener);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!admin->daemon)
        net_close(listener);
    return result == 0 && !admin->daemon ? WEIR_EIO : result;
}

static void stop_sampler(struct admin *admin)
{
    pthread_mutex_lock(&admin->lock);
    admin->stopping = true;
    pthread_cond_signal(&admin->wake);
    pthread_mutex_unlock(&admin->lock);
    pthread_join(admin->sampler, NULL);
}

static int fail(int code, const char *address, const char *advice, char error[CONFIG_ERROR])
{
    snprintf(error, CONFIG_ERROR, "admin %s: %s; %s", address, weir_strerror(code), advice);
    return code;
}

// Fills in the port that the kernel chose when port 0 was asked for, and says it.
static int open_listener(struct net_address *address)
{
    int listener = net_listen(address, ADMIN_CONNECTIONS);
    if (listener >= 0 && address->is_unix)
        chmod(address->host, 0660);
    if (listener >= 0 && !address->is_unix && address->port == 0) {
        char local[NET_ADDRESS_TEXT + 16];
        struct net_address chosen;
        net_local(listener, local, sizeof local);
        if (net_address_parse(&chosen, local, 0) == 0)
            address->port = chosen.port;
        log_write(LOG_INFO, "admin listens", "address=%s", local);
    }
    return listener;
}

int admin_start(struct admin **out, struct proxy *proxy, const char *address,
                char error[CONFIG_ERROR])
{
    static const char form[] = "it takes HOST:PORT, unix:/PATH or off";
    static const char other[] = "name another address (admin HOST:PORT) or turn it off (admin off)";
    struct net_address where;
    if (strcmp(address, "off") == 0) {
        *out = NULL;
        return 0;
    }
    if (net_address_parse(&where, address, 6381) != 0)
        return fail(WEIR_EINVAL, address, form, error);
    struct admin *admin = calloc(1, sizeof *admin);
    if (!admin)
        return fail(WEIR_ENOMEM, address, other, error);
    admin->proxy = proxy;
    admin->started_wall_us = clock_wall_us();
    int listener = open_listener(&where);
    admin->address = where;
    if (listener < 0) {
        free(admin);
        return fail(listener, address, other, error);
    }
    int result = start_threads(admin, listener);
    if (result == 0) {
        *out = admin;
        return 0;
    }
    if (result == WEIR_EIO)
        stop_sampler(admin);
    free(admin);
    return fail(result, address, other, error);
}

void admin_stop(struct admin **admin)
{
    struct admin *a = *admin;
    if (!a)
        return;
    MHD_stop_daemon(a->daemon);
    stop_sampler(a);
    if (a->address.is_unix)
        unlink(a->address.host);
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    free(a);
    *admin = NULL;
}
