#include "observe/render.h"
#include <stdarg.h>
#include <stdio.h>

void render_add(struct render *render, const char *format, ...)
{
    size_t left = render->needed < render->room ? render->room - render->needed : 0;
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(left ? render->out + render->needed : NULL, left, format, arguments);
    va_end(arguments);
    if (n > 0)
        render->needed += (size_t)n;
}
