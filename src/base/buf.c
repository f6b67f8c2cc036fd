#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"

// A chain of empty blocks with room for `size` bytes, or NULL.
static struct block *chain_borrow(struct block_cache *blocks, size_t size)
{
    struct block *first = NULL;
    for (size_t room = 0; room < size; room += BLOCK_ROOM) {
        struct block *block = block_borrow(blocks);
        if (block == NULL) {
            while (first != NULL) {
                struct block *next = first->next;
                block_return(blocks, first);
                first = next;
            }
            return NULL;
        }
        block->next = first;
        first = block;
    }
    return first;
}

int buf_append(struct buf *buf, struct block_cache *blocks, struct slice bytes)
{
    if (bytes.size == 0)
        return 0;
    size_t room = buf->tail != NULL ? (size_t)(BLOCK_ROOM - buf->tail->end) : 0;
    if (bytes.size > room) {
        struct block *chain = chain_borrow(blocks, bytes.size - room);
        if (chain == NULL)
            return WEIR_ENOMEM;
        if (buf->tail != NULL)
            buf->tail->next = chain;
        else
            buf->head = chain;
        if (room == 0)
            buf->tail = chain;
    }
    buf->size += bytes.size;
    for (struct block *tail = buf->tail;; tail = tail->next) {
        buf->tail = tail;
        size_t part = (size_t)(BLOCK_ROOM - tail->end);
        part = part < bytes.size ? part : bytes.size;
        memcpy(tail->data + tail->end, bytes.data, part);
        tail->end = (uint16_t)(tail->end + part);
        bytes.data += part;
        bytes.size -= part;
        if (bytes.size == 0)
            return 0;
    }
}

void buf_move(struct buf *to, struct buf *from)
{
    if (from->head == NULL)
        return;
    if (to->tail != NULL)
        to->tail->next = from->head;
    else
        to->head = from->head;
    to->tail = from->tail;
    to->size += from->size;
    *from = (struct buf){0};
}

void buf_consume(struct buf *buf, struct block_cache *blocks, size_t count)
{
    CHECK(count <= buf->size);
    buf->size -= count;
    while (buf->head != NULL) {
        struct block *head = buf->head;
        size_t held = (size_t)(head->end - head->begin);
        if (count < held) {
            head->begin = (uint16_t)(head->begin + count);
            return;
        }
        count -= held;
        buf->head = head->next;
        block_return(blocks, head);
    }
    buf->tail = NULL;
}

void buf_clear(struct buf *buf, struct block_cache *blocks)
{
    buf_consume(buf, blocks, buf->size);
}

int buf_vectors(const struct buf *buf, struct iovec *vectors, int max)
{
    int count = 0;
    for (struct block *block = buf->head; block != NULL && count < max; block = block->next) {
        vectors[count].iov_base = block->data + block->begin;
        vectors[count].iov_len = (size_t)(block->end - block->begin);
        count++;
    }
    return count;
}

void buf_copy(const struct buf *buf, void *out)
{
    uint8_t *at = out;
    for (const struct block *block = buf->head; block != NULL; block = block->next) {
        size_t held = (size_t)(block->end - block->begin);
        memcpy(at, block->data + block->begin, held);
        at += held;
    }
}
