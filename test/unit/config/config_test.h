#pragma once
// Shared by the tests of config/: a configuration too large for small stacks, and short verbs.
#include "base/err.h"
#include "config/config.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h> // needs the headers above

struct fixture {
    struct config config, other;
    char error[CONFIG_ERROR], out[32768];
};

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    config_defaults(&f->config);
    config_defaults(&f->other);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    free(*state);
    return 0;
}

static inline void load_ok(struct fixture *f, const char *text)
{
    int code = config_load_text(&f->config, "weir.conf", text, f->error);
    assert_string_equal(f->error, "");
    assert_int_equal(code, 0);
}

// The text is refused with exactly this message, and nothing has changed.
static inline void load_bad(struct fixture *f, const char *text, const char *message)
{
    f->other = f->config;
    int code = config_load_text(&f->config, "weir.conf", text, f->error);
    assert_string_equal(f->error, message);
    assert_true(code < 0);
    assert_memory_equal(&f->config, &f->other, sizeof(f->config));
}

static inline const char *get(struct fixture *f, const char *directive)
{
    assert_int_equal(config_get(&f->config, directive, f->out, sizeof(f->out)), 0);
    return f->out;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
