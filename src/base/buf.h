#pragma once
// A byte queue made of blocks: append at the tail, consume at the head. Owns its blocks.
#include "base/block.h"
#include "base/slice.h"
#include <sys/uio.h>

struct buf {
    struct block *head;
    struct block *tail;
    size_t size; // bytes held
};

// Appends all of `bytes` or nothing. Returns 0 or WEIR_ENOMEM.
int buf_append(struct buf *buf, struct block_cache *blocks, struct slice bytes);
// Moves all of `from` behind `to` without copying; `from` is empty afterwards.
void buf_move(struct buf *to, struct buf *from);
// Drops `count` bytes (at most buf->size) from the head.
void buf_consume(struct buf *buf, struct block_cache *blocks, size_t count);
void buf_clear(struct buf *buf, struct block_cache *blocks);
// Fills at most `max` vectors from the head, returns how many.
int buf_vectors(const struct buf *buf, struct iovec *vectors, int max);
// Copies the whole content to `out`, which has room for buf->size bytes.
void buf_copy(const struct buf *buf, void *out);
