#pragma once
// A strict, naive parser of replies, on purpose not weir's own.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REPLY_NODES = 160 };

struct reply {
    char type;          // as on the wire; '_' for every null
    int64_t number;     // ':' and the count of aggregates
    const uint8_t *data;
    size_t size;        // bulk, simple string, error
    unsigned first;     // index of the first child; children are linked by `next`
    unsigned next;
};

struct reply_tree {
    struct reply node[REPLY_NODES]; // 0 is the root
    unsigned count;
    const char *error; // why it is malformed
};

// > 0: bytes of one whole reply; 0: incomplete; < 0: malformed for this protocol (tree->error).
long reply_parse(struct reply_tree *tree, const uint8_t *data, size_t size, unsigned protocol);
