#pragma once
// The last requests slower than a threshold, in a fixed ring. Written by workers, read by reports;
// a short lock, taken only when a request was slow.
#include "base/slice.h"

enum { SLOWLOG_ENTRIES = 128, SLOWLOG_ARGS_BYTES = 256 };

struct slowlog_entry {
    uint64_t id, wall_us, duration_us;
    uint32_t argc;
    uint32_t args_size; // of the request frame kept in args (cut)
    uint8_t args[SLOWLOG_ARGS_BYTES];
    char client[64], name[64], where[64]; // where: "cache", node name, "private"
};

struct slowlog;
int slowlog_create(struct slowlog **out);
void slowlog_destroy(struct slowlog **log);
void slowlog_add(struct slowlog *log, const struct slowlog_entry *entry); // id is given here
// Newest first, at most `max`; returns how many.
unsigned slowlog_get(struct slowlog *log, struct slowlog_entry *out, unsigned max);
uint64_t slowlog_length(struct slowlog *log);
void slowlog_reset(struct slowlog *log);
