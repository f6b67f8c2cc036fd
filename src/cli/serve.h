#pragma once
// Inside of cli/: what `weir serve` was asked for, kept for HUP.
#include "cli/cli.h"

enum { FLAGS_MAX = 32 };

struct flag {
    char place[32]; // "--memory", "-o"
    char *text;     // lines of directives; owned
};

struct serve_flags {
    const char *file; // or NULL
    unsigned count;
    struct flag flag[FLAGS_MAX];
    bool check;
};

// For cli_parse; `context` is a struct serve_flags.
int serve_flags_take(void *context, const struct cli_option *option, const char *value);
void serve_flags_free(struct serve_flags *flags);
// Defaults, the file, the flags on top, config_finish. Returns 0, or a negative code with the lines
// to show in `error`; then *out is not changed.
int serve_flags_load(const struct serve_flags *flags, struct config *out, char error[CONFIG_ERROR]);
