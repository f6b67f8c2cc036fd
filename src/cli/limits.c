// Descriptors and memory: what the configuration asks for against what the system gives.
//
// Memory: a process in a cgroup is killed at the smallest limit on the path from its own group to
// the root, so every level is read. Inside of a container the path in /proc/self/cgroup may not
// exist below /sys/fs/cgroup, where the container's own group is mounted as the root: the walk
// starts with the longest part of the path that exists, and always ends with the root itself.
#include "cli/limits.h"
#include "base/err.h"
#include "base/limits.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { PATH_BYTES = 4352, SLACK_FILES = 128, WORKER_FILES = 4 };

// ---- descriptors

static uint64_t files_needed(const struct config *config)
{
    uint64_t workers = config->threads > 0 ? config->threads : LIMIT_WORKERS;
    return (uint64_t)config->maxclients + config->private_blocking + config->private_transactions +
           LIMIT_DBS + config->listens + workers * (WORKER_FILES + config->listens) + SLACK_FILES;
}

int limits_raise_files(const struct config *config, char error[CONFIG_ERROR])
{
    uint64_t needed = files_needed(config);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed)
        return 0;
    struct rlimit more = {needed, limit.rlim_max >= needed ? limit.rlim_max : needed};
    if (setrlimit(RLIMIT_NOFILE, &more) == 0)
        return 0;
    uint64_t other = needed - config->maxclients;
    if (limit.rlim_max > other)
        snprintf(error, CONFIG_ERROR,
                 "maxclients %u needs %" PRIu64 " open files, but this process may have %" PRIu64
                 ": raise it (`ulimit -n %" PRIu64 "`, or LimitNOFILE=%" PRIu64
                 " in the unit), or set `maxclients %" PRIu64 "`",
                 config->maxclients, needed, (uint64_t)limit.rlim_max, needed, needed,
                 (uint64_t)limit.rlim_max - other);
    else
        snprintf(error, CONFIG_ERROR,
                 "weir needs %" PRIu64 " open files, but this process may have %" PRIu64
                 ": raise it (`ulimit -n %" PRIu64 "`, or LimitNOFILE=%" PRIu64 " in the unit)",
                 needed, (uint64_t)limit.rlim_max, needed, needed);
    return WEIR_ERANGE;
}

// ---- memory

struct bound {
    uint64_t bytes;
    char where[CONFIG_TEXT];
};

static void bound_offer(struct bound *bound, uint64_t bytes, const char *where)
{
    if (bytes >= bound->bytes)
        return;
    bound->bytes = bytes;
    snprintf(bound->where, sizeof(bound->where), "%.250s", where);
}

static void bound_read(struct bound *bound, const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    uint64_t bytes;
    if (fscanf(file, "%" SCNu64, &bytes) == 1) // "max" is none
        bound_offer(bound, bytes, path);
    fclose(file);
}

// Every level of `group` below `mount`, the deepest first.
static void group_read(struct bound *bound, const char *mount, char *group, const char *name)
{
    for (;;) {
        char path[2 * PATH_BYTES];
        snprintf(path, sizeof(path), "%s%s/%s", mount, group, name);
        bound_read(bound, path);
        char *slash = strrchr(group, '/');
        if (slash == NULL)
            return;
        *slash = '\0';
    }
}

// A line of /proc/self/cgroup is "ID:CONTROLLERS:/PATH"; v2 has ID 0 and no controllers.
static void groups_read(struct bound *bound, const char *root)
{
    char path[PATH_BYTES], line[PATH_BYTES];
    snprintf(path, sizeof(path), "%.200s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL)
            continue;
        *group++ = '\0';
        if (strcmp(group, "/") == 0)
            group[0] = '\0';
        bool is_v2 = strcmp(controllers, ":") == 0;
        bool is_v1 = strstr(controllers, "memory") != NULL;
        snprintf(path, sizeof(path), "%.200s/sys/fs/cgroup%s", root, is_v2 ? "" : "/memory");
        if (is_v2 || is_v1)
            group_read(bound, path, group, is_v2 ? "memory.max" : "memory.limit_in_bytes");
    }
    fclose(file);
}

static void machine_read(struct bound *bound, const char *root)
{
    char path[PATH_BYTES], line[256];
    snprintf(path, sizeof(path), "%.200s/proc/meminfo", root);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    uint64_t kilobytes;
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "MemTotal: %" SCNu64 " kB", &kilobytes) == 1)
            bound_offer(bound, kilobytes * 1024, "the machine's memory");
    fclose(file);
}

int limits_check_memory(const struct config *config, const char *root, char error[CONFIG_ERROR])
{
    struct bound bound = {.bytes = UINT64_MAX};
    groups_read(&bound, root);
    machine_read(&bound, root);
    if (config->memory_bytes <= bound.bytes)
        return 0;
    uint64_t megabytes = bound.bytes >> 20, most = megabytes - megabytes / 10;
    if (most == 0)
        most = 1;
    char memory[32] = "";
    config_get(config, "memory", memory, sizeof(memory));
    snprintf(error, CONFIG_ERROR,
             "memory %s is more than this process may have (%" PRIu64 "mb, %.150s): set `memory "
             "%" PRIu64 "mb` or less, or raise that limit",
             memory, megabytes, bound.where, most);
    return WEIR_ERANGE;
}
