// One line is one write(2), so lines of different threads never mix and no lock is taken. A log file
// keeps its descriptor number for ever: opening another file replaces what the number stands for
// (dup3), so that a thread in the middle of a write never meets a closed descriptor.
#include "base/log.h"
#include "base/err.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 2048, PATH_BYTES = 4096 };

static struct {
    pthread_mutex_t lock;    // of opening
    atomic_int fd;           // where lines go
    atomic_int level;
    atomic_bool journal;     // stderr is the journal: priorities, no time
    int file_fd;             // the file's descriptor, -1 before the first
    char path[PATH_BYTES];   // empty for stderr
} state = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .fd = STDERR_FILENO, .level = LOG_INFO, .file_fd = -1};

static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;
    return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

static int open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return WEIR_EIO;
    if (state.file_fd < 0) {
        state.file_fd = fd;
    } else {
        dup3(fd, state.file_fd, O_CLOEXEC);
        close(fd);
    }
    atomic_store(&state.journal, false);
    atomic_store(&state.fd, state.file_fd);
    return 0;
}

int log_open(const char *path, enum log_level level)
{
    bool to_stderr = path == NULL || path[0] == '\0' || strcmp(path, "stderr") == 0;
    int err = 0;
    pthread_mutex_lock(&state.lock);
    if (to_stderr) {
        state.path[0] = '\0';
        atomic_store(&state.journal, stderr_is_journal());
        atomic_store(&state.fd, STDERR_FILENO);
    } else if (strlen(path) >= PATH_BYTES) {
        err = WEIR_EIO;
    } else if ((err = open_file(path)) == 0) {
        memmove(state.path, path, strlen(path) + 1);
    }
    if (err == 0)
        atomic_store(&state.level, (int)level);
    pthread_mutex_unlock(&state.lock);
    return err;
}

void log_set_level(enum log_level level)
{
    atomic_store(&state.level, (int)level);
}

int log_reopen(void)
{
    pthread_mutex_lock(&state.lock);
    int err = state.path[0] == '\0' ? 0 : open_file(state.path);
    pthread_mutex_unlock(&state.lock);
    return err;
}

static int line_head(char *line, enum log_level level, const char *message)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    static const int priorities[] = {7, 6, 4, 3};
    if (atomic_load_explicit(&state.journal, memory_order_relaxed))
        return snprintf(line, LINE_BYTES, "<%d>level=%s msg=\"%s\"", priorities[level],
                        names[level], message);
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    char when[32];
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &parts);
    return snprintf(line, LINE_BYTES, "time=%s.%03ldZ level=%s msg=\"%s\"", when,
                    now.tv_nsec / 1000000, names[level], message);
}

// What a peer sent may stand in a field: it must not begin a line of its own.
static void mask_controls(char *line, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
}

void log_write(enum log_level level, const char *message, const char *fields, ...)
{
    if ((int)level < atomic_load_explicit(&state.level, memory_order_relaxed))
        return;
    char line[LINE_BYTES];
    size_t room = LINE_BYTES - 1; // the line end
    int head = line_head(line, level, message);
    size_t size = head < 0 ? 0 : (size_t)head < room ? (size_t)head : room - 1;
    if (fields != NULL && fields[0] != '\0' && size + 1 < room) {
        line[size++] = ' ';
        va_list args;
        va_start(args, fields);
        int more = vsnprintf(line + size, room - size, fields, args);
        va_end(args);
        size_t left = room - size - 1;
        size += more < 0 ? 0 : (size_t)more < left ? (size_t)more : left;
    }
    mask_controls(line, size);
    line[size++] = '\n';
    ssize_t ignored = write(atomic_load(&state.fd), line, size);
    (void)ignored; // a full disk must not stop the proxy
}
