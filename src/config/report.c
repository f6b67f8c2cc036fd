#include "config/report.h"
#include "base/err.h"
#include <stdarg.h>
#include <stdio.h>

enum { TAIL_ROOM = 32 }; // kept for "… and 12345 more errors"

void report_begin(struct report *report, char out[CONFIG_ERROR])
{
    *report = (struct report){.out = out};
    out[0] = '\0';
}

void report_add(struct report *report, int code, const char *place, unsigned line,
                const char *format, ...)
{
    if (report->code == 0)
        report->code = code;
    char message[CONFIG_TEXT + CONFIG_REASON];
    struct print text = {message, sizeof(message), 0};
    if (line > 0)
        print_add(&text, "%.200s:%u: ", place, line);
    else
        print_add(&text, "%.200s: ", place);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message + text.size, sizeof(message) - text.size, format, arguments);
    va_end(arguments);

    for (unsigned char *c = (unsigned char *)message; *c != '\0'; c++)
        if (*c < ' ' || *c == 0x7f)
            *c = '?';
    size_t size = strlen(message), separator = report->used > 0;
    if (report->used + separator + size + TAIL_ROOM > CONFIG_ERROR) {
        if (report->used > 0) {
            report->hidden++;
            return;
        }
        size = CONFIG_ERROR - TAIL_ROOM;
    }
    if (separator)
        report->out[report->used++] = '\n';
    memcpy(report->out + report->used, message, size);
    report->used += size;
    report->out[report->used] = '\0';
}

int report_end(struct report *report)
{
    if (report->hidden > 0)
        snprintf(report->out + report->used, CONFIG_ERROR - report->used, "\nand %u more error%s",
                 report->hidden, report->hidden == 1 ? "" : "s");
    return report->code;
}

void print_add(struct print *text, const char *format, ...)
{
    size_t left = text->size < text->room ? text->room - text->size : 0;
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(left > 0 ? text->out + text->size : NULL, left, format, arguments);
    va_end(arguments);
    if (size > 0)
        text->size += (size_t)size;
}

static bool stands_bare(const char *word)
{
    if (word[0] == '\0' || word[0] == '#' || strstr(word, "${") != NULL)
        return false;
    if (strcmp(word, "{") == 0 || strcmp(word, "}") == 0 || strcmp(word, ";") == 0)
        return false;
    for (const unsigned char *c = (const unsigned char *)word; *c != '\0'; c++)
        if (*c <= ' ' || *c == 0x7f || *c == '"' || *c == '\'')
            return false;
    return true;
}

void print_word(struct print *text, const char *word)
{
    if (stands_bare(word)) {
        print_add(text, "%s", word);
        return;
    }
    print_add(text, "\"");
    for (const unsigned char *c = (const unsigned char *)word; *c != '\0'; c++) {
        if (*c < ' ' || *c == 0x7f)
            print_add(text, "\\x%02x", *c);
        else if (*c == '"' || *c == '\\' || *c == '$')
            print_add(text, "\\%c", *c);
        else
            print_add(text, "%c", *c);
    }
    print_add(text, "\"");
}
