#pragma once
// Several errors in one fixed buffer: a line each, whole lines only, the rest counted.
#include "config/config.h"

enum { CONFIG_REASON = 320 }; // one message without its place

struct report {
    char *out; // CONFIG_ERROR bytes, always terminated
    size_t used;
    unsigned hidden; // lines that did not fit
    int code;        // of the first one; 0 while there is none
};

void report_begin(struct report *report, char out[CONFIG_ERROR]);
// `line` 0: the place has no lines. Control bytes become '?', so a message is one line of text.
__attribute__((format(printf, 5, 6))) void report_add(struct report *report, int code,
                                                      const char *place, unsigned line,
                                                      const char *format, ...);
// Says how many lines were left out. Returns 0, or the code of the first error.
int report_end(struct report *report);

// Printing into a bounded text; `size` counts what would be needed.
struct print {
    char *out;
    size_t room, size;
};
__attribute__((format(printf, 2, 3))) void print_add(struct print *text, const char *format, ...);
// As a word of a configuration file: quoted where it has to be.
void print_word(struct print *text, const char *word);

// `from` is known to fit.
static inline void config_copy(char to[CONFIG_TEXT], const char *from)
{
    memcpy(to, from, strlen(from) + 1);
}
