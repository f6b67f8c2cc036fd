#pragma once
// Text of the renderers: appends to a fixed room and counts what a larger one would have needed.
#include <stddef.h>

struct render {
    char *out;
    size_t room;
    size_t needed; // without the terminating zero
};

// As snprintf: writes at most what room is left (one byte of it for the zero).
__attribute__((format(printf, 2, 3))) void render_add(struct render *render, const char *format, ...);
