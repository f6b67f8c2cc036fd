#pragma once
// Key hashes: XXH3-64 under a seed drawn once per process, so that no peer can choose collisions.
#include "base/slice.h"

// Call once, before any other thread starts. Tests and simulations pass a fixed seed.
void hash_seed(uint64_t seed);
// A seed from the kernel's generator.
uint64_t hash_random_seed(void);
uint64_t hash_key(struct slice key);
