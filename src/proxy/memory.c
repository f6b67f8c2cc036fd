// One number bounds the process:
//
//   memory = base (code, libraries, stacks, control plane: measured at start, plus a reserve)
//          + buffers (an eighth: every block of the data path)
//          + scratch (per thread, fixed)
//          + cache (the rest)
//
// Each part is mapped once and prefaulted, so what is not refused at start can't grow later.
#include "base/err.h"
#include "proxy/core.h"
#include <stdio.h>
#include <stdlib.h>

#define MIB (1024ull * 1024)
enum { BASE_RESERVE_MIB = 10, BUFFERS_MIN_MIB = 4, BUFFERS_MAX_MIB = 2048, CACHE_MIN_MIB = 2 };

uint64_t memory_rss(uint64_t *peak)
{
    char line[160];
    unsigned long long rss_kb = 0, peak_kb = 0;
    FILE *file = fopen("/proc/self/status", "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL) {
        sscanf(line, "VmRSS: %llu", &rss_kb);
        sscanf(line, "VmHWM: %llu", &peak_kb);
    }
    fclose(file);
    if (peak != NULL)
        *peak = peak_kb * 1024;
    return rss_kb * 1024;
}

static uint64_t scratch_of(const struct config *config, unsigned workers)
{
    uint64_t join = config->client_buffer_bytes + LIMIT_LANE_REQUEST;
    uint64_t each = LIMIT_READ_SCRATCH + ARRIVALS * CLIENT_READ_BYTES + OUT_SHARED_BYTES + 3 * LIMIT_LANE_REQUEST + 5 * join +
                    8ull * LIMIT_INLINE_BYTES + sizeof(struct worker) + 64 * 1024;
    return workers * each;
}

static uint64_t buffers_of(uint64_t memory_bytes)
{
    uint64_t buffers = memory_bytes / 8;
    if (buffers < BUFFERS_MIN_MIB * MIB)
        return BUFFERS_MIN_MIB * MIB;
    return buffers > BUFFERS_MAX_MIB * MIB ? BUFFERS_MAX_MIB * MIB : buffers;
}

// The smallest memory that holds `rest` and the buffers that go with it.
static uint64_t least_of(uint64_t rest)
{
    uint64_t least = rest;
    while (least < rest + buffers_of(least))
        least = rest + buffers_of(least);
    return least;
}

int memory_plan(struct proxy *proxy, const struct config *config, uint64_t *cache_bytes,
                char error[CONFIG_ERROR])
{
    uint64_t base = memory_rss(NULL) + BASE_RESERVE_MIB * MIB;
#ifdef WEIR_SANITIZED
    base = 24 * MIB; // a sanitizer's own memory is not weir's
#endif
    uint64_t buffers = buffers_of(config->memory_bytes);
    uint64_t scratch = scratch_of(config, proxy->workers);
    uint64_t least = least_of(base + scratch + (config->cache ? CACHE_MIN_MIB * MIB : 0));
    if (config->memory_bytes < least) {
        snprintf(error, CONFIG_ERROR,
                 "memory: %llu MB is too small: %llu MB would do (process %llu, buffers %llu, "
                 "%u threads %llu%s); fewer threads or a smaller client-buffer need less",
                 (unsigned long long)(config->memory_bytes / MIB),
                 (unsigned long long)(least / MIB + 1), (unsigned long long)(base / MIB),
                 (unsigned long long)(buffers_of(least) / MIB), proxy->workers,
                 (unsigned long long)(scratch / MIB), config->cache ? ", cache at least 2" : "");
        return WEIR_ERANGE;
    }
    proxy->memory_base_bytes = base;
    proxy->memory_buffers_bytes = buffers;
    proxy->memory_scratch_bytes = scratch;
    *cache_bytes = config->cache ? config->memory_bytes - base - buffers - scratch : 0;
    return 0;
}

uint64_t memory_cache_share(const struct proxy *proxy, uint64_t bytes)
{
    uint64_t fixed =
        proxy->memory_base_bytes + proxy->memory_buffers_bytes + proxy->memory_scratch_bytes;
    return bytes < fixed + CACHE_MIN_MIB * MIB ? 0 : bytes - fixed;
}
