#pragma once
// The simulated world: one seed, a virtual clock, and a network of byte pipes. It stands behind
// loop.h, net.h and clock.h in place of the kernel; weir, the model of Redis and the simulated
// clients all live in it and talk through net.h.
//
// One world exists at a time (net.h has no handle to pass it by). Everything that happens follows
// from the seed, so a seed replays exactly.
#include "loop/loop.h"
#include "loop/net.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct world_options {
    uint64_t latency_ns;   // of a segment: half to one and a half times this
    uint32_t split_permil; // chance that a read or write moves only part of what it could
    size_t pipe_bytes;     // what one direction of a connection holds
};

void world_init(uint64_t seed, const struct world_options *options);
void world_deinit(void); // fails when a descriptor is still open: somebody leaked it

uint64_t world_random(void);
uint64_t world_below(uint64_t n);       // 0 … n - 1
bool world_chance(unsigned permil);     // true in so many of a thousand cases
uint64_t world_now(void);               // ns
void world_advance(uint64_t ns);
uint64_t world_next_event(void);        // when bytes arrive or timers fire next; UINT64_MAX: never
uint64_t world_activity(void);          // grows whenever anything happened
uint64_t world_splits(void);            // partial reads and writes so far
void world_note_activity(void);
unsigned world_open(void);              // descriptors in use

bool world_readable(int fd);

// How connections to an address fare from now on.
enum world_fate { FATE_ACCEPT, FATE_REFUSE, FATE_BLACKHOLE };
void world_set_fate(uint16_t port, enum world_fate fate);
// Stops (or lets flow again) all bytes of connections to this port, both ways; nothing is lost.
void world_freeze(uint16_t port, bool frozen);
// Breaks the n-th connection to this port (as counted now). False when there is none.
bool world_break(uint16_t port, unsigned n, bool reset);
unsigned world_connections(uint16_t port);
