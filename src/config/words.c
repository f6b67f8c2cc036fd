// Splits a line into words (words.h has the rules).
//
//   line ──► word_read ──► unquoted bytes ─┐
//                      ├─► "…" escapes  ───┼─► put() into words->text, bounded by WORDS_ROOM
//                      ├─► '…'          ───┤
//                      └─► ${NAME}      ───┘
//
// Every byte of output goes through put(), which is the only bound there is to check: no input, and
// no environment, makes the words larger than WORDS_ROOM. A variable's value is never split again
// and never scanned for ${…}, so it cannot add words or loop.
// Rejected: escapes outside of quotes (redis.conf has none) and ${NAME:-default} (a second grammar
// inside the first).
#include "config/words.h"
#include "base/err.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct reader {
    struct words *out;
    const uint8_t *at, *end;
    bool expand;
    char *reason;
};

__attribute__((format(printf, 3, 4))) static int refuse(struct reader *r, int code,
                                                        const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->reason, WORDS_REASON, format, arguments);
    va_end(arguments);
    return code;
}

static int put(struct reader *r, char c)
{
    if (c == '\0')
        return refuse(r, WEIR_EMALFORMED, "a zero byte");
    if (r->out->used >= WORDS_ROOM)
        return refuse(r, WEIR_ERANGE, "the line is longer than %d bytes", WORDS_ROOM);
    r->out->text[r->out->used++] = c;
    return 0;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_name(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool at_variable(const struct reader *r)
{
    return r->expand && r->end - r->at >= 2 && r->at[0] == '$' && r->at[1] == '{';
}

static int variable_read(struct reader *r)
{
    char name[64];
    size_t size = 0;
    for (r->at += 2; r->at < r->end && is_name(*r->at) && size < sizeof(name) - 1; r->at++)
        name[size++] = (char)*r->at;
    name[size] = '\0';
    if (r->at >= r->end || *r->at != '}' || size == 0)
        return refuse(
            r, WEIR_EMALFORMED,
            "'${%s' is not a variable: write ${NAME}, or '...' in single quotes to keep it", name);
    r->at++;
    const char *value = getenv(name);
    if (value == NULL)
        return refuse(r, WEIR_EMALFORMED, "the environment has no variable '%s' for ${%s}", name,
                      name);
    int code = 0;
    while (*value != '\0' && code == 0)
        code = put(r, *value++);
    return code;
}

static int escape_read(struct reader *r) // at the backslash
{
    uint8_t c = r->at[1];
    if (c == 'x' && r->end - r->at >= 4 && hex_digit(r->at[2]) >= 0 && hex_digit(r->at[3]) >= 0) {
        int byte = hex_digit(r->at[2]) * 16 + hex_digit(r->at[3]);
        r->at += 4;
        return put(r, (char)byte);
    }
    static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
    const char *known = strchr(from, c);
    r->at += 2;
    return put(r, known != NULL && c != '\0' ? to[known - from] : (char)c);
}

static int quoted_read(struct reader *r)
{
    uint8_t quote = *r->at++;
    int code = 0;
    while (code == 0) {
        if (r->at >= r->end)
            return refuse(r, WEIR_EMALFORMED, "a %c quote is not closed", quote);
        if (*r->at == quote)
            break;
        bool pair = *r->at == '\\' && r->end - r->at >= 2;
        if (quote == '"' && pair) {
            code = escape_read(r);
        } else if (quote == '\'' && pair && r->at[1] == '\'') {
            code = put(r, '\'');
            r->at += 2;
        } else if (quote == '"' && at_variable(r)) {
            code = variable_read(r);
        } else {
            code = put(r, (char)*r->at++);
        }
    }
    if (code == 0 && ++r->at < r->end && !is_blank(*r->at))
        return refuse(r, WEIR_EMALFORMED, "a closing quote must be followed by a space");
    return code;
}

static int word_read(struct reader *r)
{
    struct words *out = r->out;
    if (out->count == WORDS_MAX)
        return refuse(r, WEIR_ERANGE, "more than %d words in a line", WORDS_MAX);
    size_t start = out->used;
    bool bare = true;
    int code = 0;
    while (code == 0 && r->at < r->end && !is_blank(*r->at)) {
        if (*r->at == '"' || *r->at == '\'') {
            bare = false;
            code = quoted_read(r);
        } else if (at_variable(r)) {
            bare = false;
            code = variable_read(r);
        } else {
            code = put(r, (char)*r->at++);
        }
    }
    if (code != 0)
        return code;
    if (out->used >= WORDS_ROOM)
        return refuse(r, WEIR_ERANGE, "the line is longer than %d bytes", WORDS_ROOM);
    out->text[out->used++] = '\0';
    out->word[out->count++] = (struct word){out->text + start, bare};
    return 0;
}

int words_split(struct words *out, struct slice line, bool expand, char reason[WORDS_REASON])
{
    struct reader r = {out, line.data, line.data + line.size, expand, reason};
    out->count = 0;
    out->used = 0;
    for (;;) {
        while (r.at < r.end && is_blank(*r.at))
            r.at++;
        if (r.at >= r.end || *r.at == '#')
            return 0;
        int code = word_read(&r);
        if (code != 0)
            return code;
    }
}
