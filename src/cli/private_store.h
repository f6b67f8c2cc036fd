#pragma once
// A redis-server of weir's own, for when no store is named: on a Unix socket in a fresh directory,
// nothing saved, stopped with weir, also when weir is killed.
#include "config/config.h"
#include <sys/types.h>

struct private_store {
    pid_t pid; // 0 while none runs
    char directory[CONFIG_TEXT], socket[CONFIG_TEXT];
    uint64_t started_ms;
};

// Starts it and waits until it answers. Returns 0 or a negative code with what to do in `error`.
int private_store_start(struct private_store *store, char error[CONFIG_ERROR]);
// After SIGCHLD: returns true when it has ended; `how` says how.
bool private_store_ended(struct private_store *store, char how[CONFIG_TEXT]);
// Starts it again in the same place, empty.
int private_store_restart(struct private_store *store, char error[CONFIG_ERROR]);
// Stops it and removes its directory. Harmless when it does not run.
void private_store_stop(struct private_store *store);
