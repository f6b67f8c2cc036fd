#pragma once
// "did you mean": the nearest of many names.
#include <stddef.h>

// Insertions, deletions, replacements and swaps of neighbours from `a` to `b`, case folded. Names
// longer than 63 bytes count as far away.
unsigned suggest_distance(const char *a, const char *b);
// Remembers in *best the candidate nearest to `word` so far; far ones are not taken at all.
// Begin with *best = NULL.
void suggest_offer(const char *word, const char *candidate, const char **best);
