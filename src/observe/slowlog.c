#include "observe/slowlog.h"
#include "base/err.h"
#include <pthread.h>
#include <stdlib.h>

// Entry `id` stands at id % SLOWLOG_ENTRIES. Those with first <= id < next are there, unless a
// later one has taken the place. The lock is held for one entry's copy at a time, so that a report
// of the whole ring delays a worker by less than a microsecond.
struct slowlog {
    pthread_mutex_t lock;
    uint64_t first, next;
    struct slowlog_entry ring[SLOWLOG_ENTRIES];
};

int slowlog_create(struct slowlog **out)
{
    struct slowlog *log = calloc(1, sizeof *log);
    if (!log)
        return WEIR_ENOMEM;
    pthread_mutex_init(&log->lock, NULL);
    *out = log;
    return 0;
}

void slowlog_destroy(struct slowlog **log)
{
    if (!*log)
        return;
    pthread_mutex_destroy(&(*log)->lock);
    free(*log);
    *log = NULL;
}

static uint64_t oldest(const struct slowlog *log)
{
    uint64_t held = log->next - log->first;
    return held > SLOWLOG_ENTRIES ? log->next - SLOWLOG_ENTRIES : log->first;
}

void slowlog_add(struct slowlog *log, const struct slowlog_entry *entry)
{
    pthread_mutex_lock(&log->lock);
    struct slowlog_entry *place = &log->ring[log->next % SLOWLOG_ENTRIES];
    *place = *entry;
    place->id = log->next++;
    pthread_mutex_unlock(&log->lock);
}

static bool copy_entry(struct slowlog *log, uint64_t id, struct slowlog_entry *out)
{
    pthread_mutex_lock(&log->lock);
    bool there = id >= oldest(log) && id < log->next;
    if (there)
        *out = log->ring[id % SLOWLOG_ENTRIES];
    pthread_mutex_unlock(&log->lock);
    return there;
}

unsigned slowlog_get(struct slowlog *log, struct slowlog_entry *out, unsigned max)
{
    pthread_mutex_lock(&log->lock);
    uint64_t id = log->next;
    pthread_mutex_unlock(&log->lock);
    unsigned count = 0;
    while (count < max && id-- > 0 && copy_entry(log, id, &out[count]))
        count++;
    return count;
}

uint64_t slowlog_length(struct slowlog *log)
{
    pthread_mutex_lock(&log->lock);
    uint64_t length = log->next - oldest(log);
    pthread_mutex_unlock(&log->lock);
    return length;
}

void slowlog_reset(struct slowlog *log)
{
    pthread_mutex_lock(&log->lock);
    log->first = log->next;
    pthread_mutex_unlock(&log->lock);
}
