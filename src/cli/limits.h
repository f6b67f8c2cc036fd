#pragma once
// What this machine allows, checked before anything is mapped or opened.
#include "config/config.h"

// Raises RLIMIT_NOFILE to what `config` can need. Returns 0, or WEIR_ERANGE with what would do.
int limits_raise_files(const struct config *config, char error[CONFIG_ERROR]);
// Refuses a `memory` above the cgroup's limit (v1 or v2) or the machine's memory. `root` is "" but
// in tests: the directory that /proc and /sys stand in.
int limits_check_memory(const struct config *config, const char *root, char error[CONFIG_ERROR]);
