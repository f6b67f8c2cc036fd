#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"
#include "base/hash.h"
#include <sys/random.h>

// Written once by hash_seed before any other thread runs, read only afterwards.
static uint64_t seed;

void hash_seed(uint64_t value)
{
    seed = value;
}

uint64_t hash_random_seed(void)
{
    uint64_t value;
    // up to 256 bytes come whole once the kernel's pool is ready, which it is by the time we start
    CHECK(getrandom(&value, sizeof value, 0) == (ssize_t)sizeof value);
    return value;
}

uint64_t hash_key(struct slice key)
{
    return XXH3_64bits_withSeed(key.data, key.size, seed);
}
