#pragma once
// One line of configuration to words, by redis.conf's rules: words stand between blanks; "double
// quotes" know \n \r \t \b \a \xHH and \anything; 'single quotes' know \' only; a '#' at the start
// of a word begins a comment; ${NAME} is replaced by the environment outside of single quotes.
#include "base/slice.h"

enum { WORDS_MAX = 128, WORDS_ROOM = 16 * 1024, WORDS_REASON = 160 };

struct word {
    const char *text;
    bool bare; // written without quotes: only then { } ; have their meaning
};

struct words {
    unsigned count;
    struct word word[WORDS_MAX];
    size_t used;
    char text[WORDS_ROOM];
};

// `line` has no newline. `expand` false leaves ${NAME} as it stands. Returns 0, or WEIR_EMALFORMED
// or WEIR_ERANGE with the reason.
int words_split(struct words *out, struct slice line, bool expand, char reason[WORDS_REASON]);
