#pragma once
// Assertions that stay on in release builds. For our own invariants, O(1) each; never for what a
// peer sent.

__attribute__((noreturn, cold)) void check_failed(const char *what, const char *file, int line);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            check_failed(#condition, __FILE__, __LINE__);                                          \
    } while (0)
