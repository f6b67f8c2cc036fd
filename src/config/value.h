#pragma once
// Scalars of the configuration: text to number and back. `*_parse` return 0, WEIR_EMALFORMED (not
// such a value) or WEIR_ERANGE (does not fit 64 bits) and leave *out alone on failure. `*_print`
// write the shortest text that parses to the same number.
#include "config/report.h"

int value_count_parse(const char *text, uint64_t *out);
int value_size_parse(const char *text, uint64_t *out);     // bytes: 100, 1k = 1000, 1kb = 1024 …
int value_duration_parse(const char *text, uint64_t *out); // ms: 500ms 1s 5m 1h 1d, bare: seconds
int value_bool_parse(const char *text, bool *out);         // yes no on off
void value_size_print(struct print *text, uint64_t bytes);
void value_duration_print(struct print *text, uint64_t ms);
