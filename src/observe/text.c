#include "observe/text.h"
#include <stdarg.h>
#include <stdio.h>

void text_add(struct text *text, const char *format, ...)
{
    size_t left = text->needed < text->room ? text->room - text->needed : 0;
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(left ? text->out + text->needed : NULL, left, format, arguments);
    va_end(arguments);
    if (n > 0)
        text->needed += (size_t)n;
}
