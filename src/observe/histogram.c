#include "observe/histogram.h"
#include <assert.h>

// Cells 0 … 15 are the 16 steps of 64 ns below 1024 ns. From there each power of two has 16 steps:
//
//   ns = 1xxxx…… in binary: the leading bit says which power, the next four (xxxx) which step.
//
// 27 powers, 2^10 … 2^36 ns, end at 137 s; what is longer counts in the last cell.
enum { STEP_BITS = 4, STEPS = 1 << STEP_BITS, FIRST_BITS = 10 };
static_assert(HISTOGRAM_CELLS % STEPS == 0, "whole powers of two");
static_assert(sizeof(struct histogram) <= 4096 - 16, "fits one block");

static unsigned cell_of(uint64_t ns)
{
    if (ns < 1u << FIRST_BITS)
        return (unsigned)(ns >> (FIRST_BITS - STEP_BITS));
    unsigned bits = 63u - (unsigned)__builtin_clzll(ns);
    unsigned step = (unsigned)(ns >> (bits - STEP_BITS)) & (STEPS - 1);
    unsigned cell = (bits - FIRST_BITS + 1) * STEPS + step;
    return cell < HISTOGRAM_CELLS ? cell : HISTOGRAM_CELLS - 1;
}

static void add_relaxed(_Atomic uint64_t *cell, uint64_t n)
{
    uint64_t old = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, old + n, memory_order_relaxed);
}

void histogram_add(struct histogram *h, uint64_t ns, uint64_t times)
{
    add_relaxed(&h->cell[cell_of(ns)], times);
    add_relaxed(&h->sum_ns, ns * times);
}

void histogram_merge(struct histogram_view *view, const struct histogram *h)
{
    for (unsigned i = 0; i < HISTOGRAM_CELLS; i++) {
        uint64_t n = atomic_load_explicit(&h->cell[i], memory_order_relaxed);
        view->cell[i] += n;
        view->count += n;
    }
    view->sum_ns += atomic_load_explicit(&h->sum_ns, memory_order_relaxed);
}

static uint64_t cell_begin(unsigned cell)
{
    if (cell < STEPS)
        return (uint64_t)cell << (FIRST_BITS - STEP_BITS);
    unsigned bits = FIRST_BITS - 1 + cell / STEPS;
    return (uint64_t)(STEPS + cell % STEPS) << (bits - STEP_BITS);
}

uint64_t histogram_bound(unsigned cell)
{
    return cell_begin(cell + 1);
}

// Samples are taken to lie evenly in their cell, so the answer is off by less than the cell's width
// (1/16 of its begin) and is the cell's bound when the rank falls on its last sample.
uint64_t histogram_quantile(const struct histogram_view *view, double share)
{
    if (view->count == 0)
        return 0;
    double rank = share * (double)view->count;
    if (!(rank >= 1))
        rank = 1;
    uint64_t before = 0;
    for (unsigned i = 0; i < HISTOGRAM_CELLS; i++) {
        uint64_t here = view->cell[i];
        if (here > 0 && (double)(before + here) >= rank) {
            double within = (rank - (double)before) / (double)here;
            double begin = (double)cell_begin(i), width = (double)histogram_bound(i) - begin;
            return (uint64_t)(begin + within * width);
        }
        before += here;
    }
    unsigned last = HISTOGRAM_CELLS - 1; // share > 1, or rounding of a huge count
    while (view->cell[last] == 0 && last > 0)
        last--;
    return histogram_bound(last);
}
