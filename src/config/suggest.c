#include "config/suggest.h"
#include <string.h>

enum { LONGEST = 63 };

static int fold(char c)
{
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

// Optimal string alignment over three rows: the one being written, the previous, and the one before
// that for swaps.
unsigned suggest_distance(const char *a, const char *b)
{
    size_t a_size = strlen(a), b_size = strlen(b);
    if (a_size > LONGEST || b_size > LONGEST)
        return LONGEST;
    unsigned row[3][LONGEST + 1];
    for (size_t j = 0; j <= b_size; j++)
        row[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_size; i++) {
        unsigned *now = row[i % 3], *last = row[(i + 2) % 3], *older = row[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b_size; j++) {
            unsigned replaced = last[j - 1] + (fold(a[i - 1]) != fold(b[j - 1]));
            now[j] = least(replaced, least(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                fold(a[i - 2]) == fold(b[j - 1]))
                now[j] = least(now[j], older[j - 2] + 1);
        }
    }
    return row[a_size % 3][b_size];
}

void suggest_offer(const char *word, const char *candidate, const char **best)
{
    unsigned distance = suggest_distance(word, candidate);
    size_t near = strlen(word) / 3 + 1;
    if (distance <= near && distance < strlen(candidate) &&
        (*best == NULL || distance < suggest_distance(word, *best)))
        *best = candidate;
}
