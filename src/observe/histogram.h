#pragma once
// Log-linear latency histogram: 16 steps per power of two (error under 6.3 %), 1 µs to 64 s and
// beyond (clamped). One writer thread, any readers: cells are relaxed atomics. Fits one 4 KiB block
// less its header, so that it can be borrowed from the buffer budget.
#include <stdatomic.h>
#include <stdint.h>

enum { HISTOGRAM_CELLS = 448 };

struct histogram {
    _Atomic uint64_t sum_ns;
    _Atomic uint64_t cell[HISTOGRAM_CELLS];
};

void histogram_add(struct histogram *h, uint64_t ns, uint64_t times);

struct histogram_view { // a plain sum of any number of histograms
    uint64_t count, sum_ns;
    uint64_t cell[HISTOGRAM_CELLS];
};
void histogram_merge(struct histogram_view *view, const struct histogram *h);
// The value below which `share` (0 … 1) of the samples lie, in ns; 0 when empty.
uint64_t histogram_quantile(const struct histogram_view *view, double share);
// Upper bound of a cell in ns, for Prometheus buckets.
uint64_t histogram_bound(unsigned cell);
