// Inline commands: a line of words, quoted as Redis's sdssplitargs has it, made into a RESP array.
//
//     set k "a\x20b" 'it''s'        words are split at blanks; "..." knows \n \r \t \b \a \xHH and
//                                   \anything, '...' knows \' only; a closing quote must be
//                                   followed by a blank; a quote may open within a word
//
// The array is built in one pass: each word is written behind a gap for its header and then moved
// up to it, and so is the whole behind a gap for the count.
#include "wire/resp.h"
#include <assert.h>

enum { GAP = 16 }; // room for "$65536\r\n" and for "*32768\r\n"

struct line {
    const uint8_t *at, *end;
};

static inline int peek(const struct line *line, size_t ahead)
{
    return (size_t)(line->end - line->at) > ahead ? line->at[ahead] : 0;
}

static bool is_blank(int byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static int hex_digit(int byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

// The byte behind a backslash inside double quotes; moves past the escape.
static uint8_t unescape(struct line *line)
{
    int high = hex_digit(peek(line, 2)), low = hex_digit(peek(line, 3));
    if (peek(line, 1) == 'x' && high >= 0 && low >= 0) {
        line->at += 4;
        return (uint8_t)(high << 4 | low);
    }
    int byte = peek(line, 1);
    line->at += 2;
    switch (byte) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return (uint8_t)byte;
    }
}

// The rest of a quoted part, its closing quote included. Returns the bytes written or
// RESP_ERR_UNBALANCED.
static long take_quoted(struct line *line, int quote, uint8_t *out)
{
    uint8_t *start = out;
    for (;;) {
        int byte = peek(line, 0);
        if (byte == 0)
            return RESP_ERR_UNBALANCED;
        if (byte == quote)
            break;
        if (byte == '\\' && quote == '"' && peek(line, 1) != 0) {
            *out++ = unescape(line);
        } else if (byte == '\\' && quote == '\'' && peek(line, 1) == '\'') {
            *out++ = '\'';
            line->at += 2;
        } else {
            *out++ = (uint8_t)byte;
            line->at++;
        }
    }
    line->at++;
    if (peek(line, 0) != 0 && !is_blank(peek(line, 0)))
        return RESP_ERR_UNBALANCED;
    return out - start;
}

// One word. Returns its length in `out`, which is never more than what it was read from, or
// RESP_ERR_UNBALANCED.
static long take_word(struct line *line, uint8_t *out)
{
    uint8_t *start = out;
    for (;;) {
        int byte = peek(line, 0);
        if (byte == 0 || byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t')
            return out - start;
        line->at++;
        if (byte != '"' && byte != '\'') {
            *out++ = (uint8_t)byte; // \v and \f too: they only separate words in front of one
            continue;
        }
        long quoted = take_quoted(line, byte, out);
        return quoted < 0 ? quoted : out - start + quoted; // a closing quote ends the word
    }
}

// The line without its end, and without what a NUL hides.
static struct line trim(struct slice text)
{
    if (text.size == 0)
        return (struct line){text.data, text.data};
    struct line line = {text.data, text.data + text.size};
    if (line.end[-1] == '\n') {
        line.end--;
        if (line.end > line.at && line.end[-1] == '\r')
            line.end--;
    }
    const uint8_t *hidden =
        line.end > line.at ? memchr(line.at, '\0', (size_t)(line.end - line.at)) : NULL;
    if (hidden != NULL)
        line.end = hidden;
    return line;
}

// Room: a word of n bytes on the line takes at most n + 4 + digits(n) of output, and words of one
// byte, which grow most, have a blank between them: "a " (2 bytes) becomes "$1\r\na\r\n" (7). Hence
// at most 3.5 * (line + 1) bytes of words, and 4 * line + 64 leaves the gaps their place.
static_assert(LIMIT_INLINE_BYTES < 1000000, "a word's header must fit the gap");

long resp_inline_split(struct slice line, uint8_t *out, size_t room)
{
    struct line rest = trim(line);
    if (room < 4 * (size_t)(rest.end - rest.at) + 64)
        return RESP_ERR_BIG_INLINE;
    uint8_t *to = out + GAP;
    int64_t words = 0;
    for (;;) {
        while (is_blank(peek(&rest, 0)))
            rest.at++;
        if (peek(&rest, 0) == 0)
            break;
        long size = take_word(&rest, to + GAP);
        if (size < 0)
            return size;
        size_t head = resp_put_header(to, '$', size);
        memmove(to + head, to + GAP, (size_t)size);
        to += head + (size_t)size;
        *to++ = '\r';
        *to++ = '\n';
        words++;
    }
    if (words == 0)
        return 0;
    size_t head = resp_put_header(out, '*', words);
    size_t body = (size_t)(to - out) - GAP;
    memmove(out + head, out + GAP, body);
    return (long)(head + body);
}
