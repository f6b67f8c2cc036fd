#include "cache/shard.h"
#include <sched.h>

enum { SPINS = 64 };

static inline void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void shard_lock(struct shard *shard)
{
    while (atomic_exchange_explicit(&shard->lock, 1, memory_order_acquire) != 0) {
        for (int i = 0; atomic_load_explicit(&shard->lock, memory_order_relaxed) != 0; i++) {
            if (i < SPINS)
                pause_briefly();
            else
                sched_yield(); // the holder may have been preempted
        }
    }
}

void shard_unlock(struct shard *shard)
{
    atomic_store_explicit(&shard->lock, 0, memory_order_release);
}
