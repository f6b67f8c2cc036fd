#pragma once
// A naive Redis 7.0: linear searches, one connection at a time, but exact in what a caching proxy
// depends on: replies, expiry in whole milliseconds, and default tracking (one-shot registration
// after a read, own pushes behind the own reply, a null push for flushes, nothing for SWAPDB).
//
// Keys are shorter than 64 bytes and hold no NUL. Databases 0 and 1.
#include "bytes.h"

struct redis;

enum { MODEL_DBS = 2 };

struct redis *redis_create(uint16_t port);
void redis_destroy(struct redis *redis);
// Accepts, reads, runs some commands of a random connection, writes. The clock is the world's.
void redis_step(struct redis *redis);
// Like kill -9 and a start with an empty dataset: connections are reset, another run_id.
void redis_restart(struct redis *redis);
uint64_t redis_next_event(const struct redis *redis); // blocked clients' deadlines

// Runs a command at once, as a client that weir doesn't know of; the reply is thrown away.
void redis_foreign(struct redis *redis, int argc, const char *const *argv);
// The string at (db, key) now, or NULL. Doesn't touch it.
const struct bytes *redis_peek(const struct redis *redis, unsigned db, const char *key);

// Bugs to be found by the oracles; 0 none.
enum redis_bug { BUG_NONE, BUG_NO_PUSH, BUG_LOSES_WRITES, BUG_STALE_READS, BUG_NO_EXPIRY };
void redis_set_bug(struct redis *redis, enum redis_bug bug);
// Active expiry (a cycle finds expired keys) or lazy only.
void redis_set_active_expiry(struct redis *redis, bool on);
uint64_t redis_commands(const struct redis *redis);
