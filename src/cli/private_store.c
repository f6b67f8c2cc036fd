// weir serve without a store: find redis-server, start it, wait for PONG, and never leave it
// behind.
//
//   $XDG_RUNTIME_DIR/weir-XXXXXX/   (or /tmp/…)   0700
//     redis.sock      what weir connects to
//     redis.log       shown when the start fails
//
// How it ends:
//   weir stops                SIGTERM, three seconds, SIGKILL; the directory is removed
//   weir is killed            PR_SET_PDEATHSIG: the kernel sends SIGTERM to it
//   it ends by itself         weir hears SIGCHLD and starts it again (empty: it saves nothing)
// The child has a process group of its own, so that Ctrl-C reaches weir alone and the store
// outlives the draining.
#include "cli/private_store.h"
#include "base/err.h"
#include "cli/query.h"
#include "loop/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { START_MS = 10000, STOP_MS = 3000, POLL_MS = 5, SOCKET_PATH_MAX = 107 };

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

// The first `name` on PATH that may be run. Not execvp in the child: "not found" needs words.
static int find_program(const char *name, char out[CONFIG_TEXT])
{
    const char *path = getenv("PATH");
    if (path == NULL)
        path = "/usr/local/bin:/usr/bin:/bin";
    while (*path != '\0') {
        int size = (int)strcspn(path, ":");
        int used = snprintf(out, CONFIG_TEXT, "%.*s/%s", size, path, name);
        if (size > 0 && used < CONFIG_TEXT && access(out, X_OK) == 0)
            return 0;
        path += size + (path[size] == ':');
    }
    return WEIR_ENOENT;
}

static int directory_make(struct private_store *store)
{
    const char *places[] = {getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp"};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (places[i] == NULL || places[i][0] != '/')
            continue;
        int size = snprintf(store->directory, CONFIG_TEXT, "%s/weir-XXXXXX", places[i]);
        if (size + (int)sizeof("/redis.sock") <= SOCKET_PATH_MAX &&
            mkdtemp(store->directory) != NULL) {
            snprintf(store->socket, CONFIG_TEXT, "%.100s/redis.sock", store->directory);
            return 0;
        }
    }
    store->directory[0] = '\0';
    return WEIR_EIO;
}

// In the child, between fork and exec: only what is safe there.
static _Noreturn void become_redis(char *const arguments[], const char *log, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) // weir died before the line above
        _exit(127);
    int null = open("/dev/null", O_RDONLY), out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execv(arguments[0], arguments);
    _exit(127);
}

static int spawn(struct private_store *store, const char *program)
{
    char log[CONFIG_TEXT];
    snprintf(log, sizeof(log), "%.200s/redis.log", store->directory);
    char *arguments[] = {(char *)program,
                         "--port",
                         "0",
                         "--unixsocket",
                         store->socket,
                         "--unixsocketperm",
                         "700",
                         "--save",
                         "",
                         "--appendonly",
                         "no",
                         "--daemonize",
                         "no",
                         "--dir",
                         store->directory,
                         "--loglevel",
                         "warning",
                         NULL};
    pid_t parent = getpid();
    store->started_ms = clock_ms(clock_now_ns());
    store->pid = fork();
    if (store->pid == 0)
        become_redis(arguments, log, parent);
    return store->pid > 0 ? 0 : WEIR_EIO;
}

// The last line of its log, which says why it did not start.
static void last_words(const struct private_store *store, char out[CONFIG_TEXT])
{
    char path[CONFIG_TEXT];
    snprintf(path, sizeof(path), "%.200s/redis.log", store->directory);
    out[0] = '\0';
    FILE *file = fopen(path, "re");
    char line[CONFIG_TEXT];
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '\0')
            memcpy(out, line, strlen(line) + 1);
    }
    if (file != NULL)
        fclose(file);
}

static bool answers_ping(const struct private_store *store)
{
    char address[CONFIG_TEXT + 8], reply[64];
    snprintf(address, sizeof(address), "unix:%s", store->socket);
    const char *const ping[] = {"PING"};
    return query(address, 1, ping, reply, sizeof(reply)) >= 0 && strcmp(reply, "PONG") == 0;
}

static int await_answer(struct private_store *store, char error[CONFIG_ERROR])
{
    while (clock_ms(clock_now_ns()) - store->started_ms < START_MS) {
        if (access(store->socket, F_OK) == 0 && answers_ping(store))
            return 0;
        char how[CONFIG_TEXT], words[CONFIG_TEXT];
        if (private_store_ended(store, how)) {
            last_words(store, words);
            snprintf(error, CONFIG_ERROR,
                     "the private redis-server did not start (%.60s): %.200s\nname a store with "
                     "--store redis://host:6379 to do without it",
                     how, words);
            return WEIR_EIO;
        }
        pause_ms(POLL_MS);
    }
    snprintf(error, CONFIG_ERROR, "the private redis-server did not answer within %d s",
             START_MS / 1000);
    return WEIR_ETIMEDOUT;
}

int private_store_restart(struct private_store *store, char error[CONFIG_ERROR])
{
    char program[CONFIG_TEXT];
    if (find_program("redis-server", program) != 0) {
        snprintf(error, CONFIG_ERROR,
                 "no store is named, and there is no redis-server on PATH to start one: install it "
                 "(apt install redis-server), or name a store: --store redis://host:6379");
        return WEIR_ENOENT;
    }
    if (spawn(store, program) != 0) {
        snprintf(error, CONFIG_ERROR, "cannot start %.200s: %s", program, strerror(errno));
        store->pid = 0;
        return WEIR_EIO;
    }
    return await_answer(store, error);
}

int private_store_start(struct private_store *store, char error[CONFIG_ERROR])
{
    *store = (struct private_store){0};
    if (directory_make(store) != 0) {
        snprintf(
            error, CONFIG_ERROR,
            "cannot make a directory for the private redis-server in $XDG_RUNTIME_DIR or /tmp: "
            "%s",
            strerror(errno));
        return WEIR_EIO;
    }
    int code = private_store_restart(store, error);
    if (code != 0)
        private_store_stop(store);
    return code;
}

bool private_store_ended(struct private_store *store, char how[CONFIG_TEXT])
{
    int status;
    if (store->pid <= 0 || waitpid(store->pid, &status, WNOHANG) != store->pid)
        return false;
    store->pid = 0;
    if (WIFSIGNALED(status))
        snprintf(how, CONFIG_TEXT, "signal %d, %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(how, CONFIG_TEXT, "exit status %d", WEXITSTATUS(status));
    return true;
}

static void process_stop(struct private_store *store)
{
    char how[CONFIG_TEXT];
    kill(store->pid, SIGTERM);
    for (int waited = 0; waited < STOP_MS; waited += POLL_MS) {
        if (private_store_ended(store, how))
            return;
        pause_ms(POLL_MS);
    }
    kill(store->pid, SIGKILL);
    waitpid(store->pid, NULL, 0);
    store->pid = 0;
}

void private_store_stop(struct private_store *store)
{
    if (store->pid > 0)
        process_stop(store);
    if (store->directory[0] == '\0')
        return;
    char path[CONFIG_TEXT];
    unlink(store->socket);
    snprintf(path, sizeof(path), "%.200s/redis.log", store->directory);
    unlink(path);
    rmdir(store->directory);
    store->directory[0] = '\0';
}
