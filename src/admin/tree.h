#pragma once
// Leaves of a JSON tree. Each returns an owned value, or NULL when memory ran out, which the tree
// then lacks.
#include "base/slice.h"
#include <jansson.h>

enum { TREE_BYTES = 256 }; // of text that isn't UTF-8, what is shown

json_t *tree_text(const char *value);
// What a store or a client sent need not be UTF-8, and jansson refuses what isn't: such bytes are
// shown as \xNN.
json_t *tree_bytes(struct slice bytes);
json_t *tree_number(uint64_t value);
json_t *tree_real(double value); // 0 for what isn't finite
json_t *tree_micros(uint64_t ns);
void tree_put(json_t *object, const char *name, json_t *value); // takes `value`
