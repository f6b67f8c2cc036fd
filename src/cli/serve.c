// weir serve: from flags to a running proxy, and then its signals until it ends.
//
//   flags, file ─► config ─► log ─► limits ─► private store? ─► proxy_create ─► proxy_start ─►
//   admin
//                                                                    │
//   main thread: poll ─┬─ signalfd   TERM drain, again: stop · INT stop · HUP reload · CHLD store
//                      └─ joined     the workers have ended ─► admin, proxy, store are taken down
//
// Signals are blocked before the first thread exists, so no worker ever runs a handler. A second
// thread does nothing but wait in proxy_join and then says so on `joined`, so that the main thread
// still hears a second TERM while the first one drains.
// What fails before the workers run ends with exit status 1 and a sentence on stderr; a reload that
// fails changes nothing and says why in the log.
#include "cli/serve.h"
#include "admin/admin.h"
#include "base/err.h"
#include "base/log.h"
#include "cli/banner.h"
#include "cli/limits.h"
#include "cli/private_store.h"
#include "loop/clock.h"
#include "proxy/proxy.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { JOINER_STACK = 64 * 1024, STORE_LIVES_MS = 5000 };

struct serve {
    struct serve_flags flags;
    struct config config; // as started: what is not live stays so
    bool is_private;
    struct private_store store;
    struct proxy *proxy;
    struct admin *admin;
    pthread_t joiner;
    int signals, joined;
    bool draining;
    enum cli_status status;
};

// ---- configuration

// Into *config: flags and file, and weir's own store where none is named.
static int configure(const struct serve *serve, struct config *config, char error[CONFIG_ERROR])
{
    int code = serve_flags_load(&serve->flags, config, error);
    if (code != 0 || config->store_set || serve->store.directory[0] == '\0')
        return code;
    char text[CONFIG_TEXT + 32];
    snprintf(text, sizeof(text), "store \"unix:%s\"", serve->store.socket);
    return config_load_text(config, "private store", text, error);
}

static void log_lines(const char *message, char *lines)
{
    char *rest = NULL;
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        log_write(LOG_ERROR, message, "error=\"%s\"", line);
}

static void reload(struct serve *serve)
{
    if (log_reopen() != 0)
        log_write(LOG_WARN, "the log file cannot be opened again, the old one stays", "path=\"%s\"",
                  serve->config.logfile);
    char error[CONFIG_ERROR] = "", frozen[CONFIG_ERROR];
    struct config *config = malloc(sizeof(*config));
    int code = config == NULL ? WEIR_ENOMEM : configure(serve, config, error);
    if (code == 0)
        code = limits_raise_files(config, error);
    if (code == 0)
        code = limits_check_memory(config, "", error);
    if (code == 0)
        code = proxy_reload(serve->proxy, config, error);
    if (code != 0) {
        if (error[0] == '\0')
            snprintf(error, sizeof(error), "%s", weir_strerror(code));
        log_lines("reload refused, nothing has changed", error);
    } else {
        config_frozen_changes(&serve->config, config, frozen, sizeof(frozen));
        if (frozen[0] != '\0')
            log_write(LOG_WARN, "these changes wait for a restart", "directives=\"%s\"", frozen);
        log_write(LOG_INFO, "configuration reloaded", "file=\"%s\"", config->file);
    }
    free(config);
}

// ---- start

static int signals_open(struct serve *serve)
{
    sigset_t set;
    sigemptyset(&set);
    const int heard[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR2};
    for (size_t i = 0; i < sizeof(heard) / sizeof(heard[0]); i++)
        sigaddset(&set, heard[i]);
    signal(SIGPIPE, SIG_IGN); // a peer that is gone is an error code of its write
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    serve->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    serve->joined = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return serve->signals >= 0 && serve->joined >= 0 ? 0 : WEIR_EIO;
}

static void *join_workers(void *context)
{
    struct serve *serve = context;
    proxy_join(serve->proxy);
    uint64_t one = 1;
    ssize_t written = write(serve->joined, &one, sizeof(one));
    (void)written; // the counter of an eventfd has room for one
    return NULL;
}

static int joiner_start(struct serve *serve)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
#ifndef WEIR_SANITIZED
    pthread_attr_setstacksize(&attributes, JOINER_STACK);
#endif
    int failed = pthread_create(&serve->joiner, &attributes, join_workers, serve);
    pthread_attr_destroy(&attributes);
    return failed == 0 ? 0 : WEIR_ENOMEM;
}

static int store_start(struct serve *serve, char error[CONFIG_ERROR])
{
    serve->is_private = !serve->config.store_set;
    if (!serve->is_private)
        return 0;
    int code = private_store_start(&serve->store, error);
    return code != 0 ? code : configure(serve, &serve->config, error);
}

static int proxy_run(struct serve *serve, char error[CONFIG_ERROR])
{
    int code = proxy_create(&serve->proxy, &serve->config, error);
    if (code != 0)
        return code;
    code = proxy_start(serve->proxy);
    if (code == 0)
        code = joiner_start(serve);
    if (code != 0) {
        snprintf(error, CONFIG_ERROR,
                 "cannot start threads: %s (set `threads` lower, or raise the "
                 "limit on processes)",
                 weir_strerror(code));
        proxy_stop(serve->proxy);
        proxy_join(serve->proxy);
        proxy_destroy(&serve->proxy);
    }
    return code;
}

static int start(struct serve *serve, char error[CONFIG_ERROR])
{
    int code = log_open(serve->config.logfile, serve->config.loglevel);
    if (code != 0) {
        snprintf(error, CONFIG_ERROR, "logfile %.200s cannot be opened for writing",
                 serve->config.logfile);
        return code;
    }
    code = signals_open(serve);
    if (code != 0)
        snprintf(error, CONFIG_ERROR, "cannot listen for signals: %s", strerror(errno));
    if (code == 0)
        code = limits_raise_files(&serve->config, error);
    if (code == 0)
        code = limits_check_memory(&serve->config, "", error);
    if (code == 0)
        code = store_start(serve, error);
    if (code == 0)
        code = proxy_run(serve, error);
    return code;
}

// ---- signals

static void stop(struct serve *serve, const char *why)
{
    log_write(LOG_INFO, "stopping now", "reason=\"%s\"", why);
    serve->draining = true;
    proxy_stop(serve->proxy);
}

static void terminate(struct serve *serve)
{
    if (serve->draining) {
        stop(serve, "second TERM");
        return;
    }
    serve->draining = true;
    log_write(LOG_INFO, "draining; TERM again stops at once", NULL);
    proxy_drain(serve->proxy);
}

static void store_ended(struct serve *serve)
{
    char how[CONFIG_TEXT], error[CONFIG_ERROR];
    if (!private_store_ended(&serve->store, how) || serve->draining)
        return;
    uint64_t lived = clock_ms(clock_now_ns()) - serve->store.started_ms;
    log_write(LOG_ERROR, "the private redis-server ended, its data is lost", "how=\"%s\"", how);
    int code = WEIR_EIO;
    if (lived < STORE_LIVES_MS)
        snprintf(error, sizeof(error), "it lived for %u ms only", (unsigned)lived);
    else
        code = private_store_restart(&serve->store, error);
    if (code == 0) {
        log_write(LOG_WARN, "the private redis-server was started again, empty", "pid=%d",
                  serve->store.pid);
        return;
    }
    log_lines("no store is left", error);
    serve->status = CLI_FAILURE;
    stop(serve, "the private redis-server ended");
}

static void signal_handle(struct serve *serve, uint32_t number)
{
    if (number == SIGTERM)
        terminate(serve);
    else if (number == SIGINT)
        stop(serve, "INT");
    else if (number == SIGHUP && !serve->draining)
        reload(serve);
    else if (number == SIGCHLD)
        store_ended(serve);
    else if (number == SIGUSR2)
        log_write(LOG_WARN, "USR2: handing over to a new binary is not in this version", NULL);
}

// Until the workers have ended.
static void wait_for_end(struct serve *serve)
{
    struct pollfd waited[] = {{serve->signals, POLLIN, 0}, {serve->joined, POLLIN, 0}};
    while ((waited[1].revents & POLLIN) == 0) {
        if (poll(waited, 2, -1) < 0)
            continue;
        struct signalfd_siginfo info;
        while (read(serve->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
            signal_handle(serve, info.ssi_signo);
    }
    pthread_join(serve->joiner, NULL);
    if (!serve->draining) {
        log_write(LOG_ERROR, "the worker threads ended unasked", NULL);
        serve->status = CLI_FAILURE;
    }
}

// ---- the whole

static void serve_run(struct serve *serve)
{
    char error[CONFIG_ERROR] = "";
    int code = start(serve, error);
    if (code == 0 && admin_start(&serve->admin, serve->proxy, serve->config.admin, error) != 0) {
        code = WEIR_EIO;
        proxy_stop(serve->proxy);
        pthread_join(serve->joiner, NULL);
    }
    if (code != 0) {
        cli_complain("%s", error[0] != '\0' ? error : weir_strerror(code));
        serve->status = CLI_FAILURE;
    } else {
        banner_print(stdout, serve->proxy, &serve->config,
                     serve->is_private ? &serve->store : NULL);
        log_write(LOG_INFO, "serving", "version=%s listen=%s store=\"%s\" pid=%d", WEIR_VERSION,
                  serve->config.listen[0].address, serve->config.store.name, getpid());
        wait_for_end(serve);
        log_write(LOG_INFO, "stopped", NULL);
    }
    if (serve->admin != NULL)
        admin_stop(&serve->admin);
    if (serve->proxy != NULL)
        proxy_destroy(&serve->proxy);
    private_store_stop(&serve->store);
}

static enum cli_status run(const struct cli_command *self, int argc, char **argv)
{
    struct serve *serve = calloc(1, sizeof(*serve));
    if (serve == NULL)
        return CLI_FAILURE;
    char error[CONFIG_ERROR];
    int code = cli_parse(self, argc, argv, serve_flags_take, &serve->flags);
    if (code != 0) {
        serve->status = code < 0 ? CLI_OK : CLI_USAGE;
    } else if (serve_flags_load(&serve->flags, &serve->config, error) != 0) {
        fprintf(stderr, "%s\n", error);
        serve->status = CLI_FAILURE;
    } else if (serve->flags.check) {
        printf("%s: ok\n", serve->flags.file != NULL ? serve->flags.file : "configuration");
    } else {
        serve_run(serve);
    }
    enum cli_status status = serve->status;
    serve_flags_free(&serve->flags);
    explicit_bzero(serve, sizeof(*serve));
    free(serve);
    return status;
}

static const struct cli_option OPTIONS[] = {
    {'s', "store", "URL",
     "The store behind weir: redis://[user[:password]@]host[:port][/db] or unix:/path. Without "
     "one, "
     "weir starts a private redis-server of its own.",
     NULL},
    {'l', "listen", "ADDRESS",
     "Where clients connect: host:port, [v6]:port or unix:/path. May be repeated.", NULL},
    {'a', "admin", "ADDRESS", "Where the HTTP page and /metrics are served, or off.", NULL},
    {'m', "memory", "SIZE", "The bound on weir's whole memory, such as 256mb or 4gb.", NULL},
    {'t', "threads", "N", "Worker threads; 0 is one for each processor.", NULL},
    {'c', "cache", "on|off", "Switches the near cache.", "on|off"},
    {'o', "option", "'DIRECTIVE …'",
     "Any directive of the configuration file, such as -o 'maxclients 500'. May be repeated.",
     NULL},
    {'\0', "check", NULL, "Only say whether file and flags are right.", NULL},
    {0},
};

const struct cli_command cli_serve = {
    "serve",
    "[FILE]",
    "run the proxy",
    "Runs the proxy with the configuration of FILE, if one is given, and the options on top of it. "
    "TERM lets requests under way finish (drain-timeout at most); a second TERM, or INT, stops at "
    "once. HUP reads the configuration again, with the same options on top, and opens the log file "
    "again; what is wrong in it is logged and changes nothing.",
    1,
    OPTIONS,
    run};
