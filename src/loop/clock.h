#pragma once
// Time. CLOCK_BOOTTIME, so that a suspended machine does not make stale entries look young.
// Part of the platform seam: the simulation links its own.
#include <stdint.h>

uint64_t clock_now_ns(void);
// Wall clock, microseconds since 1970, for logs and the slow log only.
uint64_t clock_wall_us(void);

static inline uint64_t clock_ms(uint64_t ns)
{
    return ns / 1000000;
}
#define CLOCK_MS(n) ((uint64_t)(n) * 1000000ull)
