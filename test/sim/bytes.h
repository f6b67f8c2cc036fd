#pragma once
// Growing byte strings for the simulation, where nothing need be fast or bounded.
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    uint8_t *data;
    size_t size, room;
};

static inline void bytes_add(struct bytes *b, const void *data, size_t size)
{
    if (b->size + size > b->room || b->data == NULL) {
        b->room = (b->size + size) * 2 + 64;
        b->data = realloc(b->data, b->room);
        if (b->data == NULL)
            abort();
    }
    if (size > 0)
        memcpy(b->data + b->size, data, size);
    b->size += size;
}

__attribute__((format(printf, 2, 3))) static inline void bytes_printf(struct bytes *b,
                                                                      const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= sizeof text)
        abort();
    bytes_add(b, text, (size_t)size);
}

static inline void bytes_drop(struct bytes *b, size_t count)
{
    memmove(b->data, b->data + count, b->size - count);
    b->size -= count;
}

static inline void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}
