#pragma once
// The last minutes, a sample a second: what the page draws, so that it also shows the time before
// it was opened. Fixed size, no lock of its own.
#include "observe/stats.h"

enum {
    HISTORY_SECONDS = 240,
    HISTORY_CELLS = 8, // of the histogram in one row of the heat map: half a power of two
    HISTORY_ROWS = HISTOGRAM_CELLS / HISTORY_CELLS,
};

struct history_sample {
    uint64_t seq, wall_us;
    uint64_t requests, reads, hits, errors; // per second; reads: those the cache may answer
    uint64_t clients;
    uint64_t p50_ns, p99_ns, p999_ns; // of the requests of this second
    uint32_t heat[HISTORY_ROWS];      // and how many took how long
};

struct history {
    uint64_t seq; // of the newest sample; 0: none yet
    uint64_t then_ns, requests, reads, hits, errors;
    struct histogram_view latency;
    struct history_sample ring[HISTORY_SECONDS];
};

// `now_ns` is a monotonic clock. The first call only takes the measure for the second.
void history_add(struct history *history, const struct stats *stats, uint64_t now_ns);
// The oldest sample with a sequence above `since`, or NULL. Valid until the next history_add.
const struct history_sample *history_next(const struct history *history, uint64_t since);
